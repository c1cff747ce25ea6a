"""Running means that a firmware reads: of the loss, and of the entropy of outputs."""

from __future__ import annotations

from collections.abc import Collection

from odl.learners.watch import Watch
from odl.options import Options
from odl.project.entry_point import CType, EntryPoint, StaticFunction, Use


def _exists(options: Options, programs: Collection[str]) -> bool:
    return options.learner(Watch) is not None


def _classifies(options: Options, programs: Collection[str]) -> bool:
    return options.learner(Watch) is not None and options.loss == "cross_entropy"


TAKE = StaticFunction(
    """\
/* One more value into a running mean: of all so far, and from {{ learners.watch.horizon }} on with that weight. */
static void watch(float value, float *mean, uint32_t *count) {
    *count += *count < {{ learners.watch.horizon }}u ? 1u : 0u;
    *mean += (value - *mean) / (float)*count;
}""",
    _exists,
    source=5,
)
ENTROPY = StaticFunction(
    """\
/* The entropy of one sample's softmax in nats: log of the sum less the mean of the exponents. */
static float entropy_of(const float *output) {
    float top = output[0], sum = 0.0f, weighted = 0.0f;
    for (uint32_t c = 1; c < {{ classes }}u; c++) {
        top = output[c] > top ? output[c] : top;
    }
    for (uint32_t c = 0; c < {{ classes }}u; c++) {
        const float exponential = odl_expf(output[c] - top);
        sum += exponential;
        weighted += exponential * (output[c] - top);
    }
    return odl_logf(sum) - weighted / sum;
}""",
    _classifies,
    source=6,
)
_ORDER = "At any time."
RUNNING_LOSS = EntryPoint(
    "running_loss",
    "Tells the running mean of the loss over about {{ learners.watch.horizon }} training steps; a part of the training "
    "state. Steps that overflowed do not count.",
    "return {{ prefix }}_state.running_loss;",
    returns=CType.FLOAT,
    result="the mean, 0 before the first step.",
    order=_ORDER,
    use=Use.ANYWHERE,
    exists=_exists,
    source=120,
)
RUNNING_ENTROPY = EntryPoint(
    "running_entropy",
    "Tells the running mean of the entropy of {{ prefix }}_infer's outputs in nats, from 0 to log({{ classes }}), over "
    "about {{ learners.watch.horizon }} samples. It starts anew with {{ prefix }}_init and is no part of a saved state.",
    "return {{ prefix }}_state.running_entropy;",
    returns=CType.FLOAT,
    result="the mean, 0 before the first inference.",
    order=_ORDER,
    use=Use.ANYWHERE,
    exists=_classifies,
    source=121,
)
