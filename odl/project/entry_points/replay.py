"""A buffer of samples that were learned, for later steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from odl.errors import InputError, option
from odl.graph.ir import DType, Graph, Role, Value
from odl.learners.log import Log
from odl.learners.replay import Replay
from odl.options import Options
from odl.project.entry_point import CType, EntryPoint, StaticFunction, TrainingPasses, Use
from odl.project.entry_points.learn import check_kept
from odl.project.programs import Program

REPLAY = Program("replay", "samples that are learned again beside new ones")


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.learner(Replay) is not None


def _graphs(passes: TrainingPasses) -> Mapping[Program, Graph]:
    """The buffer's records; where there is no log, one more sample: the new one. No kernel has to do with them."""
    replay, options = passes.options.learner(Replay), passes.options
    if replay is None:
        return {}
    x = next(value for value in passes.step.values.values() if value.role is Role.INPUT)
    check_kept(options, x.shape[0], replay.name)
    if not options.accumulate:
        raise InputError(
            f"{option('learn', replay.name)} adds the gradients of several samples up: it needs "
            f"{option('accumulate', True)}"
        )
    classes = passes.infer.value(passes.infer.outputs[0]).shape[1]
    records = [
        Value("replay.samples", (replay.samples, *x.shape[1:]), Role.RECORD, x.dtype, x.layout),
        Value("replay.labels", (replay.samples,), Role.RECORD, DType.U32),
        Value("replay.held", (classes,), Role.RECORD, DType.U32),
        Value("replay.seen", (classes,), Role.RECORD, DType.U32),
    ]
    if options.learner(Log) is None:
        records.append(Value("replay.new", x.shape, Role.RECORD, x.dtype, x.layout))
    values = {value.name: value for value in records}
    return {REPLAY: Graph(REPLAY.name, values, (), tuple(values))}


JOIN = StaticFunction(
    """\
/* --- the replay buffer --- */

{% set sample = io.step.x.c_type %}
static {{ sample }} *const replay_samples = {{ PREFIX }}_AT({{ sample }}, {{ records["replay.samples"].offset }}u);
static uint32_t *const replay_labels = {{ PREFIX }}_AT(uint32_t, {{ records["replay.labels"].offset }}u);
/* Samples of each class: in the buffer, and learned so far. */
static uint32_t *const replay_held = {{ PREFIX }}_AT(uint32_t, {{ records["replay.held"].offset }}u);
static uint32_t *const replay_seen = {{ PREFIX }}_AT(uint32_t, {{ records["replay.seen"].offset }}u);

/* A random number below a limit, the next of a sequence that the training state counts (MurmurHash3's last mixing). */
static uint32_t draw(uint32_t below) {
    {{ prefix }}_state.replay_draws++;
    uint32_t bits = {{ prefix }}_state.replay_draws * 0x9e3779b9u;
    bits = (bits ^ bits >> 16) * 0x85ebca6bu;
    bits = (bits ^ bits >> 13) * 0xc2b2ae35u;
    bits ^= bits >> 16;
    return (uint32_t)((uint64_t)bits * below >> 32);
}

{% if learners.replay.eviction == "balanced" %}
static uint32_t largest_class(void) {
    uint32_t largest = 0;
    for (uint32_t c = 1; c < {{ classes }}u; c++) {
        largest = replay_held[c] > replay_held[largest] ? c : largest;
    }
    return largest;
}

/* The place of a random sample of a class, which has some in the buffer. */
static uint32_t any_of_class(uint32_t label) {
    uint32_t before = draw(replay_held[label]), slot = 0;
    while (replay_labels[slot] != label || before != 0) {
        before -= replay_labels[slot] == label ? 1u : 0u;
        slot++;
    }
    return slot;
}

/* Where a sample of that class goes in a full buffer; {{ learners.replay.samples }} where it is left out. */
static uint32_t slot_for(uint32_t label) {
    const uint32_t largest = largest_class();
    if (replay_held[label] < replay_held[largest]) {
        return any_of_class(largest);
    }
    return draw(replay_seen[label]) < replay_held[label] ? any_of_class(label) : {{ learners.replay.samples }}u;
}
{% else %}
/* Where a sample goes in a full buffer; {{ learners.replay.samples }} or more where it is left out. */
static uint32_t slot_for(uint32_t label) {
    uint32_t seen = 0;
    (void)label;
    for (uint32_t c = 0; c < {{ classes }}u; c++) {
        seen += replay_seen[c];
    }
    return draw(seen);
}
{% endif %}

/* Puts a sample that was learned into the buffer, in the place of another where that is full. */
static void join_replay(const {{ sample }} *from, uint32_t label) {
    replay_seen[label]++;
    uint32_t slot = {{ prefix }}_state.replay_count;
    if (slot == {{ learners.replay.samples }}u) {
        slot = slot_for(label);
        if (slot >= {{ learners.replay.samples }}u) {
            return;
        }
        replay_held[replay_labels[slot]]--;
    } else {
        {{ prefix }}_state.replay_count++;
    }
    memcpy(replay_samples + slot * {{ PREFIX }}_INPUT_SIZE, from, {{ PREFIX }}_INPUT_SIZE * sizeof *from);
    replay_labels[slot] = label;
    replay_held[label]++;
}""",
    _exists,
    source=87,
)
REPLAY_COUNT = EntryPoint(
    "replay_count",
    "Says how many samples the replay buffer holds.",
    "return {{ prefix }}_state.replay_count;",
    returns=CType.COUNT,
    result="the number of samples.",
    order="At any time.",
    use=Use.ANYWHERE,
    exists=_exists,
    graphs=_graphs,
    header=150,
    source=100,
)
