"""A classifier in closed form beside the network's own: samples added and taken out, weights solved, scores.

A sample's features are the averages of some layers' outputs in whole steps, so that all that outlives a call are sums of
integers: taking a sample out restores the very bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from odl.errors import InputError, option
from odl.graph.ir import DType, Graph, Node, Role, Value
from odl.learners.analytic_head import AnalyticHead
from odl.learners.log import Log
from odl.operators.analytic_head import (
    MOST_STEPS,
    NO_STEPS,
    AnalyticWeights,
    Cholesky,
    ClassSumUpdate,
    Covariance,
    GramUpdate,
    IntegerLinear,
    Quantise,
    triangle,
)
from odl.operators.global_pooling import GlobalAveragePool
from odl.operators.optimizer import Refresh
from odl.options import Options
from odl.project.entry_point import LABEL, OUTPUT, CType, EntryPoint, StaticFunction, TrainingPasses, X
from odl.project.programs import Program
from odl.project.status import Status
from odl.project.taps import tapped, upto

FEATURES = Program(
    "head_features",
    "the analytic head's features of one sample",
    takes=frozenset({Role.INPUT}),
    watches_overflow=True,
)
UPDATE = Program("head_update", "a sample into the analytic head's sums or out of them", follows=(FEATURES,))
SCORES = Program("head_scores", "what the analytic head says of a sample", follows=(FEATURES,))
SOLVE = Program("head_solve", "the analytic head's weights from its sums", watches_overflow=True)

#: Samples whose products of features certainly fit in 32 bits.
MOST_SAMPLES = (2**31 - 1) // MOST_STEPS**2
#: What names of the head's values begin with.
_OWN = f"{AnalyticHead.name}:"


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.learner(AnalyticHead) is not None


def _value(name: str, shape: tuple[int, ...], role: Role, dtype: DType) -> Value:
    return Value(f"{_OWN}{name}", shape, role, dtype)


def _graphs(passes: TrainingPasses) -> Mapping[Program, Graph]:
    """The forward pass up to the last layer that features are taken from, the sums' updates, and the solution."""
    head = passes.options.learner(AnalyticHead)
    if head is None:
        return {}
    _check(passes)
    features = _features(passes.infer, head)
    size = features.value(features.outputs[0]).shape[1]
    classes = passes.infer.value(passes.infer.outputs[0]).shape[1]
    made = replace(features.value(features.outputs[0]))
    gram = _value("gram", (triangle(size),), Role.RECORD, DType.I32)
    sums = _value("sums", (classes, size), Role.RECORD, DType.I32)
    counts = _value("counts", (classes,), Role.RECORD, DType.I32)
    weights = _value("weights", (classes, size), Role.RECORD, DType.F32)
    bias = _value("bias", (classes,), Role.RECORD, DType.F32)
    sample = _value("sample", (6,), Role.RECORD, DType.I32)
    scores = _value("scores", (1, classes), Role.WORK, DType.F32)

    def node(name: str, operator: object, given: Mapping[str, Value], gives: Mapping[str, Value] | None = None,
             guarded: bool = False) -> Node:  # fmt: skip
        inputs, outputs = ({key: value.name for key, value in item.items()} for item in (given, gives or {}))
        return Node(f"analytic_head.{name}", operator, inputs, outputs, guarded)  # type: ignore[arg-type]

    def graph(program: Program, nodes: tuple[Node, ...], values: tuple[Value, ...], *outputs: Value) -> Graph:
        return Graph(
            program.name, {value.name: value for value in values}, nodes, tuple(item.name for item in outputs)
        )

    update = graph(
        UPDATE,
        (
            node("gram", GramUpdate(), {"features": made, "sample": sample, "gram": gram}),
            node(
                "sums", ClassSumUpdate(), {"features": made, "sample": sample, "sums": sums, "counts": counts}
            ),
        ),
        (made, sample, gram, sums, counts),
    )
    within = head.form == "slda"
    factor = _value("factor", gram.shape, Role.WORK, DType.F32)
    solved = _value("solved_weights", weights.shape, Role.WORK, DType.F32)
    solved_bias = _value("solved_bias", bias.shape, Role.WORK, DType.F32)
    statistics = {"sums": sums, "counts": counts}
    solve = graph(
        SOLVE,
        (
            node(
                "covariance", Covariance(head.shrinkage, within), {"gram": gram, **statistics}, {"a": factor}
            ),
            node("factor", Cholesky(), {"a": factor}),
            node(
                "solution",
                AnalyticWeights(within),
                {"u": factor, **statistics},
                {"weights": solved, "bias": solved_bias},
            ),
            node("weights", Refresh(), {"parameter": solved, "copy": weights}, guarded=True),
            node("bias", Refresh(), {"parameter": solved_bias, "copy": bias}, guarded=True),
        ),
        (gram, sums, counts, weights, bias, factor, solved, solved_bias),
    )
    score = graph(
        SCORES,
        (
            node(
                "scores", IntegerLinear(), {"features": made, "weights": weights, "bias": bias}, {"y": scores}
            ),
        ),
        (made, weights, bias, scores),
        scores,
    )
    return {FEATURES: features, UPDATE: update, SCORES: score, SOLVE: solve}


def _check(passes: TrainingPasses) -> None:
    """InputError where samples have no class, or do not come one by one."""
    options, own = passes.options, option("learn", AnalyticHead.name)
    if options.learner(Log) is not None:
        raise InputError(
            f"{own} does not go with {option('learn', Log.name)}, which would take its sums back too"
        )
    batch = next(value for value in passes.infer.values.values() if value.role is Role.INPUT).shape[0]
    if batch != 1 or options.bn == "train" or options.loss != "cross_entropy":
        raise InputError(
            f"{own} takes single samples with their classes: it needs a batch of 1, {option('bn', 'fold', 'frozen')} and "
            f"{option('loss', 'cross_entropy')}"
        )


def _features(infer: Graph, head: AnalyticHead) -> Graph:
    """Averages of the tapped values, in steps."""
    taps = tapped(infer, head.layers)
    graph = upto(infer, taps)
    averages: dict[str, str] = {}
    for operand, value in zip("abcd", taps, strict=False):
        averages[operand] = value.name
        if len(value.shape) > 2:
            average = Value(f"{_OWN}{value.name}", value.shape[:2], Role.ACTIVATION, value.dtype)
            pool = Node(
                f"analytic_head.{value.name}",
                GlobalAveragePool(keep=False),
                {"x": value.name},
                {"y": average.name},
            )
            graph = replace(graph, nodes=(*graph.nodes, pool), values={**graph.values, average.name: average})
            averages[operand] = average.name
    size = sum(graph.value(name).shape[1] for name in averages.values())
    features = _value("features", (1, size), Role.WORK, DType.I8)
    quantise = Quantise(tuple(MOST_STEPS / limit for limit in head.limits))
    node = Node("analytic_head.features", quantise, averages, {"y": features.name})
    return replace(
        graph,
        nodes=(*graph.nodes, node),
        values={**graph.values, features.name: features},
        outputs=(features.name,),
    )


#: What C text begins with that names the head's records and limits.
_NAMES = (
    f"{{% set own = own_records('{_OWN}') %}}{{% set most = {MOST_STEPS} %}}{{% set invalid = {NO_STEPS} %}}"
    f"{{% set most_samples = {MOST_SAMPLES} %}}\n"
)
SHARED = StaticFunction(
    _NAMES
    + """\
/* The sample that a call counts, and what is known of all; zeros before the first and between calls. */
struct head_notes {
    int32_t label;
    int32_t times; /* that it counts: 1 or -1 */
    uint32_t samples;
    uint32_t steps;   /* of the training when the first one came */
    uint32_t limited; /* their features at an end of the range */
    uint32_t solved;  /* whether the head has weights */
};

static struct head_notes *head_notes(void) { return {{ PREFIX }}_AT(struct head_notes, {{ own.sample.offset }}u); }

/* Features of an input, into the arena, and in *limited how many of them are at an end of the range. */
static {{ prefix }}_status head_features(const float *x, uint32_t *limited) {
    const int8_t *const features = {{ PREFIX }}_AT(int8_t, {{ io.head_features.result.offset }}u);
    const {{ prefix }}_status status = hand_in(x, NULL, NULL);
    if (status != {{ PREFIX }}_OK) {
        return status;
    }
{% if "head_features" in moving %}
    if (head_notes()->samples != 0 && head_notes()->steps != {{ prefix }}_state.steps) {
        return {{ PREFIX }}_HEAD_STALE;
    }
{% endif %}
    odl_parallel(run_head_features);
    *limited = 0;
    for (uint32_t i = 0; given.refused == 0 && i < {{ own.sums.bytes // own.counts.bytes }}u; i++) {
        given.overflow |= features[i] == {{ invalid }} ? 1u : 0u; /* NaN or infinity */
        *limited += features[i] == {{ most }} || features[i] == -{{ most }} ? 1u : 0u;
    }
    const {{ prefix }}_status found = explained_outcome();
    return found == {{ PREFIX }}_OVERFLOW ? {{ PREFIX }}_HEAD_RANGE : found;
}

/* Counts a sample once more or, with -1, once less. */
static {{ prefix }}_status count_in_head(const float *x, uint32_t label, int32_t times) {
    struct head_notes *const notes = head_notes();
    uint32_t limited;
    if (label >= {{ classes }}u) {
        return {{ PREFIX }}_BAD_LABEL;
    }
    if (times > 0 && notes->samples == {{ most_samples }}u) {
        return {{ PREFIX }}_HEAD_FULL;
    }
    if (times < 0 && {{ PREFIX }}_AT(int32_t, {{ own.counts.offset }}u)[label] == 0) {
        return {{ PREFIX }}_HEAD_EMPTY;
    }
    const {{ prefix }}_status status = head_features(x, &limited);
    if (status != {{ PREFIX }}_OK) {
        return status;
    }
    notes->label = (int32_t)label;
    notes->times = times;
    odl_parallel(run_head_update);
    notes->label = notes->times = 0;
    notes->samples += (uint32_t)times;
    notes->limited += (uint32_t)times * limited;
    notes->steps = notes->samples == 0 ? 0 : {{ prefix }}_state.steps;
    return {{ PREFIX }}_OK;
}""",
    _exists,
    source=140,
)
_REFUSALS = (
    Status.OK,
    Status.WRONG_ORDER,
    Status.BAD_INPUT,
    Status.BAD_WEIGHTS,
    Status.HEAD_STALE,
    Status.HEAD_RANGE,
)
_NEEDS = ("learn", AnalyticHead.name)
ADD = EntryPoint(
    "head_add",
    "Adds one sample to the analytic head's sums; its weights change with {{ prefix }}_head_solve.",
    "return count_in_head(x, label[0], 1);",
    returns=CType.STATUS,
    parameters=(X, LABEL),
    statuses=(*_REFUSALS, Status.BAD_LABEL, Status.HEAD_FULL),
    exists=_exists,
    runs=(FEATURES, UPDATE),
    number=20,
    needs=_NEEDS,
    graphs=_graphs,
    source=150,
)
REMOVE = EntryPoint(
    "head_remove",
    "Takes a sample out of the analytic head's sums that was added before: their bits are those of never having seen it. "
    "The head's weights, which know it, are cleared; {{ prefix }}_head_solve makes them anew. A sample that was never "
    "added is not recognised as such, and leaves sums of no meaning.",
    _NAMES
    + """\
const {{ prefix }}_status status = count_in_head(x, label[0], -1);
if (status == {{ PREFIX }}_OK) {
    head_notes()->solved = 0;
    memset({{ PREFIX }}_AT(uint8_t, {{ own.weights.offset }}u), 0, {{ own.weights.bytes }}u);
    memset({{ PREFIX }}_AT(uint8_t, {{ own.bias.offset }}u), 0, {{ own.bias.bytes }}u);
}
return status;""",
    returns=CType.STATUS,
    parameters=(X, LABEL),
    statuses=(*_REFUSALS, Status.BAD_LABEL, Status.HEAD_EMPTY),
    exists=_exists,
    runs=(FEATURES, UPDATE),
    number=21,
    needs=_NEEDS,
    source=160,
)
SOLVE_HEAD = EntryPoint(
    "head_solve",
    "Computes the analytic head's weights from its sums; with any status but {{ PREFIX }}_OK they stay as they were.",
    """\
const {{ prefix }}_status status = hand_in(NULL, NULL, NULL);
if (status != {{ PREFIX }}_OK) {
    return status;
}
if (head_notes()->samples == 0) {
    return {{ PREFIX }}_HEAD_EMPTY;
}
odl_parallel(run_head_solve);
if (given.overflow != 0) {
    return {{ PREFIX }}_HEAD_SINGULAR;
}
head_notes()->solved = 1;
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    statuses=(Status.OK, Status.WRONG_ORDER, Status.HEAD_EMPTY, Status.HEAD_SINGULAR),
    exists=_exists,
    runs=(SOLVE,),
    number=22,
    needs=_NEEDS,
    source=170,
)
INFER_HEAD = EntryPoint(
    "head_infer",
    "Computes the analytic head's scores of one sample, the largest for its class.",
    """\
{% set scores = io.head_scores.result %}
const float *const scores = {{ PREFIX }}_AT(float, {{ scores.offset }}u);
uint32_t limited;
if (head_notes()->solved == 0) {
    return {{ prefix }}_state.loss_scale == 0.0f ? {{ PREFIX }}_WRONG_ORDER : {{ PREFIX }}_HEAD_UNSOLVED;
}
const {{ prefix }}_status status = head_features(x, &limited);
if (status != {{ PREFIX }}_OK) {
    return status;
}
odl_parallel(run_head_scores);
for (uint32_t i = 0; i < {{ PREFIX }}_OUTPUT_SIZE; i++) {
    output[i] = scores[i];
    given.overflow |= isfinite(output[i]) ? 0u : 1u;
}
return outcome();""",
    returns=CType.STATUS,
    parameters=(X, OUTPUT),
    statuses=(*_REFUSALS, Status.HEAD_UNSOLVED, Status.OVERFLOW),
    exists=_exists,
    runs=(FEATURES, SCORES),
    number=23,
    needs=_NEEDS,
    source=180,
)
RESET = EntryPoint(
    "head_reset",
    "Forgets all samples of the analytic head and its weights, as {{ prefix }}_init does.",
    _NAMES
    + """\
if ({{ prefix }}_state.loss_scale == 0.0f) {
    return {{ PREFIX }}_WRONG_ORDER;
}
{% for record in own.values() %}
memset({{ PREFIX }}_AT(uint8_t, {{ record.offset }}u), 0, {{ record.bytes }}u);
{% endfor %}
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    statuses=(Status.OK, Status.WRONG_ORDER),
    exists=_exists,
    source=190,
)
