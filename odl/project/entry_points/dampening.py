"""Selective synaptic dampening (SSD): weights that matter more to some samples than to others become smaller."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from odl.errors import InputError, option
from odl.graph.ir import Graph
from odl.learners.dampening import Dampening
from odl.learners.importance import Importance
from odl.options import Options
from odl.project.entry_point import LAST, CType, EntryPoint, Parameter, StaticFunction, TrainingPasses
from odl.project.entry_points.training import UNLOGGED
from odl.project.programs import Program
from odl.project.status import Status

DAMPENING = Program("dampening", "importance of the samples that are to be retained")


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.learner(Dampening) is not None


def _graphs(passes: TrainingPasses) -> Mapping[Program, Graph]:
    """A reference beside every sum of squared gradients. No kernel has to do with it."""
    options = passes.options
    if options.learner(Dampening) is None:
        return {}
    if options.learner(Importance) is None:
        raise InputError(
            f"{option('learn', 'dampening')} compares importances: it needs {option('learn', 'importance,dampening')}"
        )
    sums = [value for value in passes.kept if value.name.endswith(".importance")]
    references = {
        value.name: value
        for value in (replace(item, name=item.name.removesuffix("importance") + "reference") for item in sums)
    }
    return {DAMPENING: Graph(DAMPENING.name, references, (), tuple(references))}


_TABLE = StaticFunction(
    """\
/* --- dampening --- */

/* A trained parameter, its importance so far, and that of the reference: bytes into the arena. */
static const struct {
    uint32_t weights;
    uint32_t importance;
    uint32_t reference;
    uint32_t count;
    bool half; /* whether the weights are */
} dampening[] = {
{% for tensor in initial if tensor.name ~ ".importance" in records %}
{% set half = tensor.largest < 0x8000 %}
{% set importance, reference = records[tensor.name ~ ".importance"], records[tensor.name ~ ".reference"] %}
    {{ "{" }}{{ tensor.offset }}u, {{ importance.offset }}u, {{ reference.offset }}u, {# -#}
    {{ importance.bytes // 4 }}u, {{ "true" if half else "false" }}}, /* {{ tensor.name }} */
{% endfor %}
};
#define {{ PREFIX }}_DAMPENING (sizeof dampening / sizeof *dampening)

/* A core's share of a parameter's elements. */
struct range {
    uint32_t begin;
    uint32_t end;
};

static struct range range_of(size_t parameter, uint32_t core, uint32_t cores) {
    const uint32_t count = dampening[parameter].count;
    const struct range range = {odl_share_begin(count, core, cores), odl_share_begin(count, core + 1, cores)};
    return range;
}

/* What an importance is compared with: none so small that a ratio to it means nothing. */
static float at_least_tiny(float reference) { return reference > 1e-30f ? reference : 1e-30f; }

/* How many elements have an importance of at most `limit` times their reference; all cores add to it in turn. */
static void count_below(uint32_t core, uint32_t cores) {
    uint32_t below = 0;
    for (size_t p = 0; p < {{ PREFIX }}_DAMPENING; p++) {
        const float *const importance = {{ PREFIX }}_AT(float, dampening[p].importance);
        const float *const reference = {{ PREFIX }}_AT(float, dampening[p].reference);
        const struct range range = range_of(p, core, cores);
        for (uint32_t i = range.begin; i < range.end; i++) {
            below += importance[i] <= given.limit * at_least_tiny(reference[i]) ? 1u : 0u;
            if (!isfinite(importance[i]) || !isfinite(reference[i])) {
                given.not_finite = 1;
            }
        }
    }
    for (uint32_t turn = 0; turn < cores; turn++) {
        if (turn == core) {
            given.below += below;
        }
        odl_barrier();
    }
}

static void dampen_weights(uint32_t core, uint32_t cores) {
    uint32_t dampened = 0;
    for (size_t p = 0; p < {{ PREFIX }}_DAMPENING; p++) {
        const float *const importance = {{ PREFIX }}_AT(float, dampening[p].importance);
        const float *const reference = {{ PREFIX }}_AT(float, dampening[p].reference);
        const struct range range = range_of(p, core, cores);
        for (uint32_t i = range.begin; i < range.end; i++) {
            const float compared = at_least_tiny(reference[i]);
            if (importance[i] <= given.limit * compared) {
                continue;
            }
            const float share = given.strength * compared / importance[i];
            const float factor = share < 1.0f ? share : 1.0f;
            if (dampening[p].half) {
                odl_f16 *const half = {{ PREFIX }}_AT(odl_f16, dampening[p].weights) + i;
                odl_store_f16(half, odl_load_f16(half) * factor);
            } else {
                {{ PREFIX }}_AT(float, dampening[p].weights)[i] *= factor;
            }
            dampened++;
        }
    }
    for (uint32_t turn = 0; turn < cores; turn++) {
        if (turn == core) {
            given.below += dampened;
        }
        odl_barrier();
    }
}

static uint32_t elements_below(float limit) {
    given.limit = limit;
    given.below = 0;
    odl_parallel(count_below);
    return given.below;
}

/* The smallest limit that `wanted` elements are below: positive floats are in the order of their bits. */
static float limit_for(uint32_t wanted) {
    uint32_t low = 0, high = 0x7f7fffffu;
    float limit;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2u;
        memcpy(&limit, &middle, sizeof limit);
        if (elements_below(limit) >= wanted) {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    memcpy(&limit, &low, sizeof limit);
    return limit;
}""",
    _exists,
    source=110,
)

KEEP_REFERENCE = EntryPoint(
    "keep_importance",
    "Makes the mean importance so far the reference of {{ prefix }}_dampen, and starts the sums anew: call it when "
    "{{ prefix }}_importance has seen samples that are to be retained, on the device or before it is deployed.",
    UNLOGGED
    + """\
if ({{ prefix }}_state.importance_count == 0) {
    return {{ PREFIX }}_WRONG_ORDER;
}
const float share = 1.0f / (float){{ prefix }}_state.importance_count;
for (size_t p = 0; p < {{ PREFIX }}_DAMPENING; p++) {
    float *const importance = {{ PREFIX }}_AT(float, dampening[p].importance);
    float *const reference = {{ PREFIX }}_AT(float, dampening[p].reference);
    for (uint32_t i = 0; i < dampening[p].count; i++) {
        reference[i] = importance[i] * share;
        importance[i] = 0.0f;
    }
}
{{ prefix }}_state.reference_count = {{ prefix }}_state.importance_count;
{{ prefix }}_state.importance_count = 0;
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    statuses=(Status.OK, Status.WRONG_ORDER),
    order="After {{ prefix }}_importance.",
    exists=_exists,
    number=11,
    needs=("learn", "dampening"),
    header=LAST + 1,
    source=111,
)
PERCENTILE = Parameter(
    "percentile",
    CType.FLOAT,
    "which share of all trained weights stays as it is at least, in percent, from 0 to 100; 99 is usual.",
    extent="",
)
STRENGTH = Parameter("strength", CType.FLOAT, "lambda, positive; 1 is usual.", extent="")
DAMPENED = Parameter("dampened", CType.COUNT_OUT, "receives how many weights became smaller.", extent="1")
DAMPEN = EntryPoint(
    "dampen",
    "Selective synaptic dampening (Foster et al. 2024, equations 4 and 6): a weight whose mean importance I_f since "
    "{{ prefix }}_keep_importance is more than alpha times its reference I_D is multiplied by min(lambda I_D / I_f, 1). "
    "alpha is the percentile of I_f / I_D over all trained weights. The sums start anew.",
    UNLOGGED
    + """\
const uint32_t samples = {{ prefix }}_state.importance_count;
if (samples == 0 || {{ prefix }}_state.reference_count == 0) {
    return {{ PREFIX }}_WRONG_ORDER;
}
if (!(percentile >= 0.0f && percentile <= 100.0f && strength > 0.0f && isfinite(strength))) {
    return {{ PREFIX }}_BAD_SETTING;
}
uint32_t weights = 0;
for (size_t p = 0; p < {{ PREFIX }}_DAMPENING; p++) {
    weights += dampening[p].count;
}
given.not_finite = 0;
(void)elements_below(0.0f);
if (given.not_finite != 0) {
    return {{ PREFIX }}_NOT_FINITE;
}
const float wanted = percentile / 100.0f * (float)weights;
given.limit = limit_for((uint32_t)wanted);
given.strength = strength * (float)samples; /* sums stand for means: both sides times the samples */
given.below = 0;
odl_parallel(dampen_weights);
*dampened = given.below;
{% if has_refresh %}
odl_parallel(run_{{ served_by.refresh }});
{% endif %}
odl_parallel(run_{{ served_by.reset_importance }});
{{ prefix }}_state.importance_count = 0;
return {{ PREFIX }}_OK;""",
    returns=CType.STATUS,
    parameters=(PERCENTILE, STRENGTH, DAMPENED),
    statuses=(Status.OK, Status.WRONG_ORDER, Status.BAD_SETTING, Status.NOT_FINITE),
    order="After {{ prefix }}_keep_importance and then {{ prefix }}_importance.",
    exists=_exists,
    number=12,
    needs=("learn", "dampening"),
    graphs=_graphs,
    header=LAST + 1,
    source=112,
)
