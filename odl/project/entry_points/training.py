"""A training step, and what it shares with accumulation: gradients, and the update or its omission."""

from odl.project.entry_point import SAMPLE_WEIGHT, TARGET, CType, EntryPoint, StaticFunction, X, always, where
from odl.project.programs import APPLY, STEP

COMPUTE_GRADIENTS = StaticFunction(
    """\
/* Forward and backward; the sum of the samples' weighted losses over {{ PREFIX }}_BATCH. */
static float compute_gradients(const float *x, const float *target, const float *sample_weight) {
    given.x = x;
    given.target = target;
    given.sample_weight = sample_weight;
    odl_parallel(run_step);
    {{ prefix }}_state.steps++;
    const float loss = *{{ PREFIX }}_AT(float, {{ io.step.result.offset }}u);
{% if dynamic_scale %}
    if (!isfinite(loss)) {
        {{ prefix }}_state.overflow = 1; /* a NaN that came from outside raises no flag */
    }
{% endif %}
    return loss;
}""",
    always,
    source=10,
)
PREPARE_UPDATE = StaticFunction(
    """\
static void prepare_update(uint32_t steps) {
{% for scalar in scalars if scalar.advance %}
    {{ scalar.advance }}
{% endfor %}
}""",
    always,
    source=50,
)
UPDATE_OR_SKIP = StaticFunction(
    """\
static void update_or_skip(uint32_t steps) {
{% if dynamic_scale %}
    const float largest_scale = 65536.0f;
    const uint32_t growth_interval = 1000;

    if ({{ prefix }}_state.overflow != 0) {
{% if has_skip %}
        odl_parallel(run_{{ served_by.skip }});
{% endif %}
        {{ prefix }}_state.overflow = 0;
        {{ prefix }}_state.skipped_steps++;
        {{ prefix }}_state.good_steps = 0;
        if ({{ prefix }}_state.loss_scale > 1.0f) {
            {{ prefix }}_state.loss_scale *= 0.5f;
        }
        return;
    }
    prepare_update(steps);
    odl_parallel(run_apply);
    {{ prefix }}_state.good_steps++;
    if ({{ prefix }}_state.good_steps == growth_interval) {
        {{ prefix }}_state.good_steps = 0;
        if ({{ prefix }}_state.loss_scale < largest_scale) {
            {{ prefix }}_state.loss_scale *= 2.0f;
        }
    }
{% else %}
    prepare_update(steps);
    odl_parallel(run_apply);
{% endif %}
}""",
    where(APPLY),
    source=60,
)

_COMMENT = """\
One training step: forward, backward, update. Returns the loss.
loss: the sum of the samples' losses times their factors, over {{ PREFIX }}_BATCH.
target: {{ target_text }}.
sample_weight: {{ PREFIX }}_BATCH factors on the samples' losses, or NULL for ones.
A batch of n samples only trains with their mean where their factors are {{ PREFIX }}_BATCH / n
and those of the rest are 0."""
_BODY = """\
{% if accumulate %}
const float loss = {{ prefix }}_accumulate(x, target, sample_weight);
{{ prefix }}_apply();
return loss;
{% elif deferred %}
const float loss = compute_gradients(x, target, sample_weight);
update_or_skip(1);
return loss;
{% else %}
prepare_update(1); /* each layer is updated as soon as its gradient is complete */
return compute_gradients(x, target, sample_weight);
{% endif %}"""

TRAIN_STEP = EntryPoint(
    "train_step",
    _COMMENT,
    _BODY,
    returns=CType.FLOAT,
    parameters=(X, TARGET, SAMPLE_WEIGHT),
    runs=(STEP, APPLY),
    number=0,
    header=30,
    source=90,
)
