"""The learning rate, and what the training state says of itself."""

from odl.project.entry_point import CType, EntryPoint, Parameter

SET_LEARNING_RATE = EntryPoint(
    "set_learning_rate",
    "The learning rate of the following updates; it starts at {{ learning_rate_text }}.",
    """\
if ({{ prefix }}_state.loss_scale == 0.0f) {
    return {{ PREFIX }}_WRONG_ORDER;
}
if (!(learning_rate >= 0.0f) || !isfinite(learning_rate)) {
    return {{ PREFIX }}_BAD_LEARNING_RATE;
}
{{ prefix }}_state.learning_rate = learning_rate;
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    parameters=(Parameter("learning_rate", CType.FLOAT),),
    header=60,
    source=100,
)
LOSS_SCALE = EntryPoint(
    "loss_scale",
    'What the loss is multiplied with before the backward pass{{ " (adapts itself)" if dynamic_scale }}.',
    "return {{ prefix }}_state.loss_scale;",
    returns=CType.FLOAT,
    header=70,
    source=110,
)
SKIPPED_STEPS = EntryPoint(
    "skipped_steps",
    "Steps whose gradients overflowed and that therefore changed no weight.",
    "return {{ prefix }}_state.skipped_steps;",
    returns=CType.COUNT,
    header=80,
    source=120,
)
STEPS = EntryPoint(
    "steps",
    "Forward and backward passes since {{ prefix }}_init, those of skipped steps among them.",
    "return {{ prefix }}_state.steps;",
    returns=CType.COUNT,
    header=90,
    source=130,
)
