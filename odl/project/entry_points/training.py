"""A training step, and what it shares with accumulation: gradients, and the update or its omission."""

from collections.abc import Collection

from odl.options import Options
from odl.project.entry_point import (
    LABEL,
    LOSS,
    SAMPLE_WEIGHT,
    TARGET,
    CType,
    EntryPoint,
    StaticFunction,
    X,
    always,
)
from odl.project.programs import APPLY, STEP
from odl.project.status import Status

WEIGHTS_ARE_SOUND = StaticFunction(
    """\
/* Whether weights and statistics can be computed with, as they always can unless somebody else wrote them. */
static bool weights_are_sound(void) {
    for (size_t i = 0; i < sizeof initial_tensors / sizeof *initial_tensors; i++) {
        const uint8_t *const tensor = {{ prefix }}_arena + initial_tensors[i].offset;
        const bool half = initial_tensors[i].largest < 0x8000u;
        for (uint32_t at = 0; at < initial_tensors[i].bytes; at += half ? 2u : 4u) {
            uint32_t bits = 0;
            memcpy(&bits, tensor + at, half ? 2u : 4u);
            if ((bits & (half ? 0x7fffu : 0x7fffffffu)) > initial_tensors[i].largest) {
                return false;
            }
        }
    }
    return true;
}""",
    always,
    source=2,
)
HAND_IN = StaticFunction(
    """\
/* What a call is given; {{ PREFIX }}_WRONG_ORDER before {{ prefix }}_init, which sets the loss scale. */
static {{ prefix }}_status hand_in(const float *x, const float *target, const float *sample_weight) {
    memset(&given, 0, sizeof given);
    given.x = x;
    given.target = target;
    given.sample_weight = sample_weight;
    return {{ prefix }}_state.loss_scale == 0.0f ? {{ PREFIX }}_WRONG_ORDER : {{ PREFIX }}_OK;
}

/* What the cores found. */
static {{ prefix }}_status outcome(void) {
    if (given.refused == 0) {
        return given.overflow != 0 ? {{ PREFIX }}_OVERFLOW : {{ PREFIX }}_OK;
    }
    if (given.bad_input != 0) {
        return {{ PREFIX }}_BAD_INPUT;
    }
    if (given.bad_target != 0) {
        return {{ PREFIX }}_BAD_TARGET;
    }
    if (given.bad_label != 0) {
        return {{ PREFIX }}_BAD_LABEL;
    }
    return {{ PREFIX }}_BAD_SAMPLE_WEIGHT;
}

/* The same of a call that changes no weight: an overflow may come from weights that somebody destroyed. */
static {{ prefix }}_status explained_outcome(void) {
    return given.overflow != 0 && !weights_are_sound() ? {{ PREFIX }}_BAD_WEIGHTS : outcome();
}""",
    always,
    source=4,
)
COMPUTE_GRADIENTS = StaticFunction(
    """\
/* Forward and backward of what was handed in{{ ", and the updates where the step counts" if not deferred }}. */
static {{ prefix }}_status compute_gradients(float *loss) {
    odl_parallel(run_step);
    const {{ prefix }}_status status = outcome();
    if (loss != NULL && given.refused == 0) {
        *loss = *{{ PREFIX }}_AT(float, {{ io.step.result.offset }}u);
    }
    if (status == {{ PREFIX }}_OK) {
        {{ prefix }}_state.steps++;
{% if "watch" in learners %}
        const float watched = *{{ PREFIX }}_AT(float, {{ io.step.result.offset }}u);
        watch(watched, &{{ prefix }}_state.running_loss, &{{ prefix }}_state.watched_steps);
{% endif %}
    }
    return status;
}""",
    always,
    source=10,
)
COUNT_STEP = StaticFunction(
    """\
/* After an update. */
static {{ prefix }}_status count_step(void) {
{% if dynamic_scale %}
    const float largest_scale = 65536.0f;
    const uint32_t growth_interval = 1000;
    {{ prefix }}_state.good_steps++;
    if ({{ prefix }}_state.good_steps == growth_interval) {
        {{ prefix }}_state.good_steps = 0;
        if ({{ prefix }}_state.loss_scale < largest_scale) {
            {{ prefix }}_state.loss_scale *= 2.0f;
        }
    }
{% else %}
    {{ prefix }}_state.good_steps++;
{% endif %}
    return given.update_overflow != 0 ? {{ PREFIX }}_UPDATE_OVERFLOW : {{ PREFIX }}_OK;
}

/* Instead of an update, after an overflow. */
static {{ prefix }}_status skip_step(void) {
{% if has_skip %}
    odl_parallel(run_{{ served_by.skip }});
{% endif %}
    if (!weights_are_sound()) {
        return {{ PREFIX }}_BAD_WEIGHTS;
    }
    {{ prefix }}_state.skipped_steps++;
    {{ prefix }}_state.good_steps = 0;
{% if dynamic_scale %}
    if ({{ prefix }}_state.loss_scale <= 1.0f) {
        return {{ PREFIX }}_SCALE_FLOOR;
    }
    {{ prefix }}_state.loss_scale *= 0.5f;
{% endif %}
    return {{ PREFIX }}_OVERFLOW;
}
{% if deferred %}

/* The update that the gradients of `steps` steps were computed for. */
static {{ prefix }}_status update(uint32_t steps) {
    given.update_overflow = 0;
    prepare_update(steps);
    odl_parallel(run_apply);
    return count_step();
}
{% endif %}""",
    always,
    source=60,
)
TRAIN = StaticFunction(
    """\
/* One training step with what was handed in. */
static {{ prefix }}_status train(float *loss) {
{% if accumulate %}
    if ({{ prefix }}_state.accumulated != 0) {
        return {{ PREFIX }}_WRONG_ORDER;
    }
    const {{ prefix }}_status status = add_gradients(loss);
    return given.refused != 0 ? status : {{ prefix }}_apply();
{% else %}
    const {{ prefix }}_status status = compute_gradients(loss);
    if (status == {{ PREFIX }}_OVERFLOW) {
        return skip_step();
    }
    return status == {{ PREFIX }}_OK ? {{ "update(1)" if deferred else "count_step()" }} : status;
{% endif %}
}""",
    always,
    source=85,
)

_STATUSES = (
    Status.OK,
    Status.OVERFLOW,
    Status.SCALE_FLOOR,
    Status.UPDATE_OVERFLOW,
    Status.WRONG_ORDER,
    Status.BAD_INPUT,
    Status.BAD_SAMPLE_WEIGHT,
    Status.BAD_WEIGHTS,
)
_ORDER = (
    "After {{ prefix }}_init{{ '; not while accumulated gradients wait for ' ~ prefix ~ '_apply' if accumulate }}"
    "{{ '; not while the log has steps' if 'log' in learners }}."
)
#: What a call that changes the training state without the log's knowledge begins with.
UNLOGGED = """\
{% if "log" in learners %}
if ({{ prefix }}_state.log_count != 0) {
    return {{ PREFIX }}_WRONG_ORDER; /* a step that is not in the log could not be computed again */
}
{% endif %}
"""
_BODY = (
    UNLOGGED
    + """\
const {{ prefix }}_status status = hand_in(x, target, sample_weight);
return status == {{ PREFIX }}_OK ? train(loss) : status;"""
)

TRAIN_STEP = EntryPoint(
    "train_step",
    "Computes one training step: forward, backward, update. A step that is refused or overflows changes no weight.",
    _BODY,
    returns=CType.STATUS,
    parameters=(X, TARGET, SAMPLE_WEIGHT, LOSS),
    statuses=(*_STATUSES, Status.BAD_TARGET),
    order=_ORDER,
    runs=(STEP, APPLY),
    number=0,
    header=30,
    source=90,
)


def _classifies(options: Options, programs: Collection[str]) -> bool:
    return options.loss == "cross_entropy"


TRAIN_LABEL = EntryPoint(
    "train_label",
    "Computes one training step where the samples' classes are known: as {{ prefix }}_train_step with probabilities "
    "of 0 and 1.",
    UNLOGGED
    + """\
const {{ prefix }}_status status = hand_in(x, NULL, sample_weight);
given.label = label;
return status == {{ PREFIX }}_OK ? train(loss) : status;""",
    returns=CType.STATUS,
    parameters=(X, LABEL, SAMPLE_WEIGHT, LOSS),
    statuses=(*_STATUSES, Status.BAD_LABEL),
    order=_ORDER,
    exists=_classifies,
    runs=(STEP, APPLY),
    number=7,
    needs=("loss", "cross_entropy"),
    header=35,
    source=95,
)
