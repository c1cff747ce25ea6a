"""The learning rate, and what the training state says of itself."""

from odl.project.entry_point import CType, EntryPoint, Parameter, Use
from odl.project.status import Status

SET_LEARNING_RATE = EntryPoint(
    "set_learning_rate",
    "Sets the learning rate of the following updates; it starts at {{ learning_rate_text }}.",
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
    parameters=(Parameter("learning_rate", CType.FLOAT, "the new rate, finite and not negative."),),
    statuses=(Status.OK, Status.WRONG_ORDER, Status.BAD_LEARNING_RATE),
    header=60,
    source=100,
)
LOSS_SCALE = EntryPoint(
    "loss_scale",
    "Says what the loss is multiplied with before the backward pass, against gradients below fp16's range.",
    "return {{ prefix }}_state.loss_scale;",
    returns=CType.FLOAT,
    result="the factor{{ ', from 1 to 65536; it adapts itself' if dynamic_scale }}. 0 before {{ prefix }}_init.",
    order="At any time.",
    use=Use.ANYWHERE,
    header=70,
    source=110,
)
SKIPPED_STEPS = EntryPoint(
    "skipped_steps",
    "Says how many steps changed no weight because their gradients overflowed.",
    "return {{ prefix }}_state.skipped_steps;",
    returns=CType.COUNT,
    result="the number since {{ prefix }}_init, modulo 2^32; a loaded state brings its own.",
    order="At any time.",
    use=Use.ANYWHERE,
    header=80,
    source=120,
)
STEPS = EntryPoint(
    "steps",
    "Says how many forward and backward passes counted: neither refused nor skipped.",
    "return {{ prefix }}_state.steps;",
    returns=CType.COUNT,
    result="the number since {{ prefix }}_init, modulo 2^32; a loaded state brings its own.",
    order="At any time.",
    use=Use.ANYWHERE,
    header=90,
    source=130,
)
