"""A log of what was learned, and how to forget by it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from odl.graph.ir import DType, Graph, Role, Value
from odl.learners.log import Log
from odl.options import Options
from odl.plan.buffers import round_up
from odl.project.entry_point import LAST, CType, EntryPoint, Parameter, StaticFunction, TrainingPasses, Use
from odl.project.entry_points.learn import check_kept
from odl.project.programs import APPLY, STEP, Program
from odl.project.state import struct_bytes
from odl.project.status import Status

LOG = Program("log", "samples that were learned, and training states in between")


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.learner(Log) is not None


def _graphs(passes: TrainingPasses) -> Mapping[Program, Graph]:
    """The log's records. No kernel has to do with them."""
    log, options = passes.options.learner(Log), passes.options
    if log is None:
        return {}
    x = next(value for value in passes.step.values.values() if value.role is Role.INPUT)
    check_kept(options, x.shape[0], log.name)
    state = round_up(struct_bytes(options)) + sum(round_up(value.size_bytes) for value in passes.kept)
    records = (
        Value("log.samples", (log.samples, *x.shape[1:]), Role.RECORD, x.dtype, x.layout),
        Value("log.labels", (log.samples,), Role.RECORD, DType.U32),
        Value("log.ids", (log.samples,), Role.RECORD, DType.U32),
        Value("log.rates", (log.samples,), Role.RECORD, DType.F32),
        Value("log.states", (log.kept_states, state), Role.RECORD, DType.U8),
    )
    assert math.prod(records[0].shape) == log.samples * x.count
    values = {value.name: value for value in records}
    return {LOG: Graph(LOG.name, values, (), tuple(values))}


LEARN_LOGGED = StaticFunction(
    """\
/* --- the log: steps in their order, and the training state before every {{ learners.log.slice }} of them --- */

#define {{ PREFIX }}_LOG_SAMPLES {{ learners.log.samples }}u
#define {{ PREFIX }}_LOG_SLICE {{ learners.log.slice }}u
#define {{ PREFIX }}_LOG_STATES {{ learners.log.kept_states }}u

{% set sample = io.step.x.c_type %}
/* What is kept of a step. */
static {{ sample }} *log_sample(uint32_t step) {
    return {{ PREFIX }}_AT({{ sample }}, {{ records["log.samples"].offset }}u) + step * {{ PREFIX }}_INPUT_SIZE;
}

static uint32_t *log_label(uint32_t step) { return {{ PREFIX }}_AT(uint32_t, {{ records["log.labels"].offset }}u) + step; }

static uint32_t *log_id(uint32_t step) { return {{ PREFIX }}_AT(uint32_t, {{ records["log.ids"].offset }}u) + step; }

static float *log_rate(uint32_t step) { return {{ PREFIX }}_AT(float, {{ records["log.rates"].offset }}u) + step; }

/* The tensors of a training state. */
static const struct {
    uint32_t offset;
    uint32_t bytes;
} log_tensors[] = {
{% for tensor in rewound %}
    {{ "{" }}{{ tensor.offset }}u, {{ tensor.bytes }}u}, /* {{ tensor.name }} */
{% endfor %}
};
#define {{ PREFIX }}_LOG_STATE_BYTES {{ records["log.states"].bytes // learners.log.kept_states }}u

static uint8_t *log_state(uint32_t slice) {
    return {{ prefix }}_arena + {{ records["log.states"].offset }}u + slice * {{ PREFIX }}_LOG_STATE_BYTES;
}

/* A core's share of a training state, into the log or out of it. */
static void move_state(uint32_t core, uint32_t cores) {
    uint8_t *kept = given.log_state + sizeof {{ prefix }}_state;
    for (size_t i = 0; i < sizeof log_tensors / sizeof *log_tensors; i++) {
        const uint32_t words = (log_tensors[i].bytes + 3u) / 4u;
        const uint32_t begin = 4u * odl_share_begin(words, core, cores);
        const uint32_t bytes = 4u * odl_share_begin(words, core + 1, cores) - begin;
        uint8_t *const tensor = {{ prefix }}_arena + log_tensors[i].offset;
        memcpy((given.returns != 0 ? tensor : kept) + begin, (given.returns != 0 ? kept : tensor) + begin, bytes);
        kept = &kept[4u * words];
    }
}

static void keep_state(uint32_t slice) {
    struct {{ prefix }}_state words = {{ prefix }}_state;
{% for word in unsaved_words %}
    words.{{ word }} = 0; /* no part of a training state */
{% endfor %}
    given.log_state = log_state(slice);
    given.returns = 0;
    memcpy(given.log_state, &words, sizeof words);
    odl_parallel(move_state);
}

static void return_to_state(uint32_t slice) {
    given.log_state = log_state(slice);
    given.returns = 1;
    const struct {{ prefix }}_state now = {{ prefix }}_state;
    memcpy(&{{ prefix }}_state, given.log_state, sizeof {{ prefix }}_state);
{% for scalar in unsaved_words %}
    {{ prefix }}_state.{{ scalar }} = now.{{ scalar }};
{% endfor %}
    {{ prefix }}_state.log_count = slice * {{ PREFIX }}_LOG_SLICE; /* older steps may have been dropped since */
    odl_parallel(move_state);
{% if has_refresh %}
    odl_parallel(run_{{ served_by.refresh }});
{% endif %}
}

/* Erases the log from a step on. */
static void erase_log(uint32_t step) {
    const uint32_t steps = {{ PREFIX }}_LOG_SAMPLES - step;
    const uint32_t slice = (step + {{ PREFIX }}_LOG_SLICE - 1u) / {{ PREFIX }}_LOG_SLICE;
    memset(log_sample(step), 0, steps * {{ PREFIX }}_INPUT_SIZE * sizeof({{ sample }}));
    memset(log_label(step), 0, steps * sizeof(uint32_t));
    memset(log_id(step), 0, steps * sizeof(uint32_t));
    memset(log_rate(step), 0, steps * sizeof(float));
    memset(log_state(slice), 0, ({{ PREFIX }}_LOG_STATES - slice) * {{ PREFIX }}_LOG_STATE_BYTES);
}

/* Computes the step behind the log's last one, which is written down already, and counts it. */
static {{ prefix }}_status learn_next(float *loss) {
    const uint32_t step = {{ prefix }}_state.log_count;
    if (step % {{ PREFIX }}_LOG_SLICE == 0) {
        keep_state(step / {{ PREFIX }}_LOG_SLICE);
    }
    const {{ prefix }}_status status = learn_kept(log_sample(step), log_label(step), loss);
    {{ prefix }}_state.log_count = step + 1;
    return status;
}

static {{ prefix }}_status learn_logged(const float *x, uint32_t label, uint32_t id, float *loss) {
    const uint32_t step = {{ prefix }}_state.log_count;
    if (step >= {{ PREFIX }}_LOG_SAMPLES) {
        return {{ PREFIX }}_LOG_FULL;
    }
    {{ prefix }}_status status = keep(x, log_sample(step));
    if (status != {{ PREFIX }}_OK) {
        return status;
    }
    *log_label(step) = label;
    *log_id(step) = id;
    *log_rate(step) = {{ prefix }}_state.learning_rate;
    status = learn_next(loss);
    if (status == {{ PREFIX }}_BAD_WEIGHTS) { /* the step was not computed */
        {{ prefix }}_state.log_count = step;
        erase_log(step);
    }
    return status;
}""",
    _exists,
    source=94,
)

IDS = Parameter(
    "ids", CType.COUNTS_IN, "the numbers of the samples, in any order.", extent="{{ learners.log.samples }}"
)
COUNT = Parameter("count", CType.COUNT, "how many they are, at most {{ learners.log.samples }}.", extent="")

_LISTED = """\
static bool is_listed(uint32_t id, const uint32_t *ids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* The first step of the log with one of the samples; the number of its steps where there is none. */
static uint32_t first_of(const uint32_t *ids, uint32_t count) {
    uint32_t step = 0;
    while (step < {{ prefix }}_state.log_count && !is_listed(*log_id(step), ids, count)) {
        step++;
    }
    return step;
}"""
FORGET_STEPS = EntryPoint(
    "forget_steps",
    "Says how many steps {{ prefix }}_forget would compute for these samples; changes nothing.",
    """\
const uint32_t logged = {{ prefix }}_state.log_count, first = first_of(ids, count);
uint32_t steps = 0;
if (first == logged) {
    return 0;
}
for (uint32_t step = first / {{ PREFIX }}_LOG_SLICE * {{ PREFIX }}_LOG_SLICE; step < logged; step++) {
    steps += is_listed(*log_id(step), ids, count) ? 0u : 1u;
}
return steps;""",
    returns=CType.COUNT,
    parameters=(IDS, COUNT),
    result="the number of steps; 0 also where the log has none of the samples.",
    exists=_exists,
    preamble=_LISTED,
    header=LAST + 1,
    source=97,
)
LOG_COUNT = EntryPoint(
    "log_count",
    "Says how many steps the log holds.",
    "return {{ prefix }}_state.log_count;",
    returns=CType.COUNT,
    result="the number of steps, at most {{ learners.log.samples }}.",
    order="At any time.",
    use=Use.ANYWHERE,
    exists=_exists,
    header=LAST,
    source=101,
)
FORGET = EntryPoint(
    "forget",
    "Forgets samples: weights, all training state and the log are, to the bit, what they would be had these samples never "
    "been learned. Goes back to the last training state before the first of them and computes the later steps again.",
    """\
const uint32_t steps = {{ prefix }}_state.log_count, first = first_of(ids, count);
if ({{ prefix }}_state.loss_scale == 0.0f) {
    return {{ PREFIX }}_WRONG_ORDER;
}
for (uint32_t i = 0; i < count; i++) {
    if (first_of(&ids[i], 1) == steps) {
        return {{ PREFIX }}_NOT_IN_LOG;
    }
}
if (first == steps) {
    return {{ PREFIX }}_OK; /* no sample was given */
}
const float learning_rate = {{ prefix }}_state.learning_rate;
{{ prefix }}_status worst = {{ PREFIX }}_OK;
return_to_state(first / {{ PREFIX }}_LOG_SLICE);
for (uint32_t step = {{ prefix }}_state.log_count; step < steps; step++) {
    const uint32_t to = {{ prefix }}_state.log_count;
    if (is_listed(*log_id(step), ids, count)) {
        continue;
    }
    if (to != step) {
        memcpy(log_sample(to), log_sample(step), {{ PREFIX }}_INPUT_SIZE * sizeof({{ io.step.x.c_type }}));
        *log_label(to) = *log_label(step);
        *log_id(to) = *log_id(step);
        *log_rate(to) = *log_rate(step);
    }
    {{ prefix }}_state.learning_rate = *log_rate(to);
    const {{ prefix }}_status status = learn_next(NULL);
    if (status == {{ PREFIX }}_UPDATE_OVERFLOW || status == {{ PREFIX }}_BAD_WEIGHTS) {
        worst = status;
    }
}
erase_log({{ prefix }}_state.log_count);
{{ prefix }}_state.learning_rate = learning_rate;
return worst;""",
    returns=CType.STATUS,
    parameters=(IDS, COUNT),
    statuses=(
        Status.OK,
        Status.NOT_IN_LOG,
        Status.WRONG_ORDER,
        Status.UPDATE_OVERFLOW,
        Status.BAD_WEIGHTS,
    ),
    exists=_exists,
    runs=(STEP, APPLY),
    number=9,
    needs=("learn", "log"),
    graphs=_graphs,
    header=LAST + 2,
    source=98,
)
DROP_LOG = EntryPoint(
    "drop_log",
    "Makes room in the log: erases the steps before its second training state, or all where it has but one. What they "
    "taught stays learned, and cannot be forgotten from then on.",
    """\
const uint32_t steps = {{ prefix }}_state.log_count;
const uint32_t dropped = steps < {{ PREFIX }}_LOG_SLICE ? steps : {{ PREFIX }}_LOG_SLICE;
const uint32_t left = steps - dropped;
memmove(log_sample(0), log_sample(dropped), left * {{ PREFIX }}_INPUT_SIZE * sizeof({{ io.step.x.c_type }}));
memmove(log_label(0), log_label(dropped), left * sizeof(uint32_t));
memmove(log_id(0), log_id(dropped), left * sizeof(uint32_t));
memmove(log_rate(0), log_rate(dropped), left * sizeof(float));
memmove(log_state(0), log_state(1), ({{ PREFIX }}_LOG_STATES - 1u) * {{ PREFIX }}_LOG_STATE_BYTES);
{{ prefix }}_state.log_count = left;
erase_log(left);""",
    exists=_exists,
    header=LAST + 3,
    source=99,
)
