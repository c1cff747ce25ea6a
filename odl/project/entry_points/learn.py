"""Learning a sample that is kept: in a replay buffer, in a log, or in both."""

from __future__ import annotations

from collections.abc import Collection

from odl.errors import InputError, option
from odl.learners.log import Log
from odl.learners.replay import Replay
from odl.options import Options
from odl.project.entry_point import LABEL, LOSS, CType, EntryPoint, Parameter, StaticFunction, X
from odl.project.programs import APPLY, STEP
from odl.project.status import Status


def keeps_samples(options: Options) -> bool:
    """Whether a network keeps samples."""
    return options.learner(Log) is not None or options.learner(Replay) is not None


def _exists(options: Options, programs: Collection[str]) -> bool:
    return keeps_samples(options)


def check_kept(options: Options, batch: int, name: str) -> None:
    """InputError where a network cannot learn kept samples; `name` is the primitive that keeps them."""
    if batch != 1 or options.loss != "cross_entropy":
        raise InputError(
            f"{option('learn', name)} keeps single samples with their classes: it needs a batch of 1, and "
            f"{option('loss', 'cross_entropy')}"
        )


KEEP = StaticFunction(
    """\
/* Hands in a sample that is kept, and its class. */
static void hand_in_kept({{ io.step.x.c_type }} *sample, const uint32_t *label) {
    memset(&given, 0, sizeof given);
    given.sample = sample;
    given.label = label;
}

/* Keeps what the caller gave, converted as the network takes it in; {{ PREFIX }}_BAD_INPUT leaves zeros. */
static {{ prefix }}_status keep(const float *x, {{ io.step.x.c_type }} *sample) {
    memset(&given, 0, sizeof given);
    given.x = x;
    given.sample = sample;
    odl_parallel(keep_input);
    if (given.refused != 0) {
        memset(sample, 0, {{ PREFIX }}_INPUT_SIZE * sizeof *sample);
    }
    return outcome();
}""",
    _exists,
    source=86,
)
LEARN_KEPT = StaticFunction(
    """\
{% if "replay" in learners %}
/* One training step with a kept sample and some of the replay buffer, which the sample then joins. */
{% else %}
/* One training step with a kept sample. */
{% endif %}
static {{ prefix }}_status learn_kept({{ io.step.x.c_type }} *sample, const uint32_t *label, float *loss) {
    hand_in_kept(sample, label);
{% if "replay" in learners %}
    const struct {{ prefix }}_state before = {{ prefix }}_state;
    (void)add_gradients(loss); /* whether it overflowed is in the state */
    for (uint32_t i = 0; i < {{ learners.replay.mix }}u && {{ prefix }}_state.replay_count != 0; i++) {
        const uint32_t slot = draw({{ prefix }}_state.replay_count);
        hand_in_kept(replay_samples + slot * {{ PREFIX }}_INPUT_SIZE, &replay_labels[slot]);
        (void)add_gradients(NULL);
    }
    const {{ prefix }}_status status = {{ prefix }}_apply();
    if (status == {{ PREFIX }}_BAD_WEIGHTS) {
        {{ prefix }}_state = before;
    } else {
        join_replay(sample, *label);
    }
    return status;
{% else %}
    return train(loss);
{% endif %}
}""",
    _exists,
    source=88,
)

ID = Parameter(
    "id",
    CType.COUNT,
    "a number of your choice by which the sample is known; it may be learned again.",
    extent="",
)
LEARN = EntryPoint(
    "learn",
    "Computes one training step with a sample of known class, and keeps the sample.",
    """\
if ({{ prefix }}_state.loss_scale == 0.0f{{ " || %s_state.accumulated != 0" % prefix if accumulate }}) {
    return {{ PREFIX }}_WRONG_ORDER;
}
if (*label >= {{ classes }}u) {
    return {{ PREFIX }}_BAD_LABEL;
}
{% if "log" in learners %}
return learn_logged(x, *label, id, loss);
{% else %}
{{ io.step.x.c_type }} *const sample = {{ PREFIX }}_AT({{ io.step.x.c_type }}, {{ records["replay.new"].offset }}u);
(void)id; /* for a log */
{{ prefix }}_status status = keep(x, sample);
if (status == {{ PREFIX }}_OK) {
    status = learn_kept(sample, label, loss);
    memset(sample, 0, {{ PREFIX }}_INPUT_SIZE * sizeof *sample);
}
return status;
{% endif %}""",
    returns=CType.STATUS,
    parameters=(X, LABEL, ID, LOSS),
    statuses=(
        Status.OK,
        Status.OVERFLOW,
        Status.SCALE_FLOOR,
        Status.UPDATE_OVERFLOW,
        Status.WRONG_ORDER,
        Status.BAD_INPUT,
        Status.BAD_LABEL,
        Status.BAD_WEIGHTS,
        Status.LOG_FULL,
    ),
    exists=_exists,
    runs=(STEP, APPLY),
    number=8,
    needs=("learn", "log"),
    header=36,
    source=96,
)
