"""`odl verify`: every gradient, updated tensor, statistic and output of a network against float64 PyTorch.

Each step starts the reference from the device's own state and every stretch of the model from the device's activations
before it, so that an error can neither hide behind an earlier one nor grow out of an earlier rounding, and an
update is judged by how far the tensor moved, so that a step that trains nothing fails.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from odl.check.bounds import CEILING, SMALLEST_NORMAL, UNIT_ROUNDOFF, gradient_bound, relative_error, within
from odl.check.forgetting import with_forgetting
from odl.check.head import check_head
from odl.check.movement import with_movement
from odl.check.observe import Observer
from odl.check.reference import Reference, ReferenceStep, Sample
from odl.check.report import Key, Report, Row
from odl.errors import CheckFailedError, InputError, option
from odl.graph.ir import Role
from odl.graph.operator import Array
from odl.learners.analytic_head import AnalyticHead
from odl.optimizers.base import Optimizer
from odl.precision import Precision
from odl.project.status import Status
from odl.run.net import Net

#: How much worse than float32 PyTorch's own error, scaled to the unit roundoff, a tensor may come out. In fp32 the
#: order of the sums is all that differs: a running sum of n terms has sqrt(n) times the error of PyTorch's blocks.
_NOISE_FACTOR = {Precision.FP32: 32.0, Precision.MIXED: 4.0, Precision.FP16: 4.0}

_KINDS = {Role.PARAMETER: "weight", Role.STATISTIC: "statistic", Role.WORKING_COPY: "working copy"}

Progress = Callable[[int, int], None]


class Verifier:
    """Runs steps on a net and in float64 PyTorch side by side and keeps the worst error of every tensor."""

    def __init__(
        self, net: Net, module: nn.Module, optimizer: Optimizer, trainable: Sequence[str], seed: int = 0
    ) -> None:
        options = net.project.options
        self._net, self._module, self._optimizer = net, module, optimizer
        self._precision = options.dtype
        self._accumulate = options.accumulate
        self._trainable = tuple(trainable)
        self._reference = Reference(module, options.loss, optimizer, trainable)
        self._loss = options.loss
        self._random = np.random.default_rng(seed)
        self._errors: dict[Key, tuple[float, float]] = {}
        self._underflow: dict[str, float] = {}
        self._digests: dict[Key, Any] = {}
        self._bound = gradient_bound(self._precision, self._longest_sum())

    def run(self, steps: int = 3, accumulated: int = 1, progress: Progress | None = None) -> Report:
        """Verify `steps` updates; raises CheckFailedError when every step overflows, or the network refuses one.

        The first step uses the compiled learning rate, the following ones a rate that moves the weights visibly.
        """
        rate, done, attempts = self._optimizer.lr, 0, 0
        accumulated = accumulated if self._accumulate else 1
        while done < steps:
            attempts += 1
            if attempts > steps + 20:
                if not self._report().ok:  # what failed before says more
                    break
                raise CheckFailedError("every step overflows: the loss scale never settles")
            samples = [self.sample() for _ in range(accumulated)]
            try:
                result = self._step(samples, rate, done)
            except InputError as error:
                if self._report().ok:
                    raise CheckFailedError(f"step {attempts} is refused: {error.message}") from error
                return self._report()  # what failed before says more
            if result is None:
                continue
            done += 1
            rate = self._visible_rate(result)
            self._net.set_learning_rate(rate)
            if progress is not None:
                progress(done, steps)
        self._check_inference()
        self._check_head()
        return self._report()

    def with_movement(self, report: Report, initial: bytes, steps: int = 20) -> Report:
        """The report, and how far the weights go from the state `initial` at the compiled learning rate."""
        self._net.load(initial)
        samples = [self.sample() for _ in range(steps)]
        return with_movement(report, self._net, self._reference, self._trainable, samples, self._optimizer.lr)

    # --- one step -------------------------------------------------------------------------------------------

    def _step(self, samples: Sequence[Sample], rate: float, done: int) -> ReferenceStep | None:
        net = self._net
        before = self._state()
        skipped, scale = net.skipped_steps, net.loss_scale
        seen = Observer(net)
        losses: list[float] = []
        try:
            with net.observed(seen):
                if self._accumulate:
                    losses += [net.accumulate(item.x, item.target, item.weight) for item in samples]
                    net.apply()
                else:
                    losses.append(net.train_step(samples[0].x, samples[0].target, samples[0].weight))
        except InputError:
            if net.status is not Status.UPDATE_OVERFLOW:  # whose gradients and weights can be looked at
                raise
        after = self._state()
        self._digest_step(after, losses, seen.gradients)
        if net.skipped_steps > skipped:
            self._check_unchanged(before, after)
            return None
        count = len(samples) if self._accumulate else 1
        gradients = {name: item.astype(np.float64) / (scale * count) for name, item in seen.gradients.items()}
        if not any(item.any() for item in gradients.values()):
            self._note("every gradient", "all zero", math.inf, 0.0)
        wanted = self._reference.step(
            before,
            [
                replace(sample, activations=made)
                for sample, made in zip(samples, seen.activations, strict=True)
            ],
            float(np.float32(rate)),
            done,
            self._ceiling,
            self._coarseness,
            gradients if self._optimizer.steps_by_sign else None,
        )
        if losses:
            error = relative_error(np.array(np.mean(losses)), np.array(wanted.loss))
            self._note("loss", "loss", error, self._ceiling)
        for name, flips in wanted.flips.items():
            self._note(name, "mask", flips.share, max(flips.explained, self._ceiling))
        for name, error in wanted.activations.items():
            self._note(name, "activation", error, self._ceiling)
        for name in self._trainable:
            error = float("nan")
            if name in gradients:
                floor = self._noise_floor(name, wanted, self._bound)
                error = relative_error(gradients[name], wanted.gradients[name], floor)
            self._note(name, "gradient", error, self._bound)
            if name in seen.halves:
                size = np.abs(wanted.gradients[name]) * scale
                share = float(np.mean((size > 0) & (size < SMALLEST_NORMAL)))
                self._underflow[name] = max(share, self._underflow.get(name, 0.0))
        self._check_movement(before, after, wanted, rate)
        return wanted

    def _check_movement(
        self, before: Mapping[str, Array], after: Mapping[str, Array], wanted: ReferenceStep, rate: float
    ) -> None:
        for name, value in self._net.tensors().items():
            if value.role is Role.WORKING_COPY:
                master = before if name.removesuffix(".copy") not in after else after
                rounded = master[name.removesuffix(".copy")].astype(np.float16)
                self._note(name, "working copy", relative_error(after[name], rounded), 0.0)
                continue
            start, end, target = (
                source[name].astype(np.float64) for source in (before, after, {**after, **wanted.tensors})
            )
            if value.role is Role.RECORD or (value.role is Role.PARAMETER and name not in self._trainable):
                self._note(name, "frozen", relative_error(end, start), 0.0)
                continue
            kind = _KINDS.get(value.role, "optimizer")
            owner = name if value.role.of_model else name.rpartition(".")[0]
            bound = self._bound if owner in self._trainable else self._ceiling
            floor = self._noise_floor(owner, wanted, bound)
            floor *= rate if value.role is Role.PARAMETER else 1.0
            self._note(name, kind, relative_error(end, target, floor), bound)
            floor = max(floor, self._rounding(start, value.dtype, bound))
            moved = relative_error(end - start, target - start, floor)
            self._note(name, f"{kind} change", moved, bound)

    def _noise_floor(self, name: str, wanted: ReferenceStep, bound: float) -> float:
        """The norm below which a tensor is judged by what rounding does to it in PyTorch's own float32."""
        return self._coarseness * wanted.noise.get(name, 0.0) / bound

    @property
    def _coarseness(self) -> float:
        """How much more than float32 PyTorch the device may round."""
        unit = UNIT_ROUNDOFF["f32" if self._precision is Precision.FP32 else "f16"]
        return _NOISE_FACTOR[self._precision] * unit / UNIT_ROUNDOFF["f32"]

    def _rounding(self, start: Array, dtype: str, bound: float) -> float:
        """The change below which storing the tensor in its type hides an error of `bound`."""
        return 2 * UNIT_ROUNDOFF[dtype] * float(np.linalg.norm(start)) / bound

    def _check_unchanged(self, before: Mapping[str, Array], after: Mapping[str, Array]) -> None:
        for name, value in self._net.tensors().items():
            if value.role in (Role.PARAMETER, Role.OPTIMIZER, Role.WORKING_COPY):
                self._note(name, "skipped step", relative_error(after[name], before[name]), 0.0)

    def _check_inference(self) -> None:
        sample, state, seen = self.sample(), self._state(), Observer(self._net)
        with self._net.observed(seen):
            got = self._net.infer(sample.x)
        self._digest("output", "inference", got)
        wanted, errors = self._reference.infer(state, sample.x, seen.activations[0], self._ceiling)
        self._note("output", "inference", relative_error(got, wanted), self._ceiling)
        for name, error in errors.items():
            self._note(name, "inference", error, self._ceiling)

    def _check_head(self) -> None:
        head = self._net.project.options.learner(AnalyticHead)
        if head is not None:
            for found in check_head(self._net, self._module, head, self._random, self._ceiling):
                self._note(found.tensor, found.kind, found.error, found.bound)
                self._digest(found.tensor, found.kind, found.bits)

    # --- bits -----------------------------------------------------------------------------------------------------

    def _digest(self, tensor: str, kind: str, array: Array) -> None:
        self._digests.setdefault((tensor, kind), hashlib.sha256()).update(
            np.ascontiguousarray(array).tobytes()
        )

    def _digest_step(
        self, after: Mapping[str, Array], losses: Sequence[float], gradients: Mapping[str, Array]
    ) -> None:
        self._digest("loss", "loss", np.array(losses))
        for name, gradient in gradients.items():
            self._digest(name, "gradient", gradient)
        for name, value in self._net.tensors().items():
            self._digest(name, _KINDS.get(value.role, "optimizer"), after[name])

    # --- state, samples, bounds, rows ----------------------------------------------------------------------------------

    def _state(self) -> dict[str, Array]:
        return {name: self._net.tensor(name) for name in self._net.tensors()}

    def sample(self) -> Sample:
        """A random input, target and sample weights."""
        net, random = self._net, self._random
        x = random.standard_normal(net.input.shape).astype(np.float32)
        if self._loss == "cross_entropy":
            target = random.dirichlet(np.full(net.output.shape[1], 0.3), size=net.batch).astype(np.float32)
        else:
            target = random.standard_normal(net.output.shape).astype(np.float32)
        weight = random.uniform(0.5, 1.5, size=net.batch).astype(np.float32)
        return Sample(x, target, weight)

    def _visible_rate(self, step: ReferenceStep) -> float:
        """A learning rate that moves a typical weight tensor by about two per cent of its norm."""
        ratios = []
        for name in self._trainable:
            gradient = step.gradients[name]
            direction = np.sign(gradient) if self._optimizer.steps_by_sign else gradient
            moved, weight = float(np.linalg.norm(direction)), float(np.linalg.norm(step.tensors[name]))
            if moved > 0 and weight > 0:
                ratios.append(weight / moved)
        return float(np.clip(0.02 * np.median(ratios), 1e-6, 1.0)) if ratios else self._optimizer.lr

    @property
    def _ceiling(self) -> float:
        return CEILING[self._precision]

    def _longest_sum(self) -> int:
        """Terms of the longest sum in the network: every gradient is downstream of all of them."""
        longest = 1
        for program in self._net.project.programs:
            for node in program.nodes:
                elements = sum(entry.value.count for entry in node.writes[:1])
                if node.macs and elements:
                    longest = max(longest, node.macs // elements)
        return longest

    def _note(self, tensor: str, kind: str, error: float, bound: float) -> None:
        """Keep the error that is worst in relation to its bound; NaN is worse than any."""
        key = (tensor, kind)
        worst, limit = self._errors.get(key, (0.0, bound))
        if np.isnan(error) or not (np.isnan(worst) or error - bound < worst - limit):
            self._errors[key] = (error, bound)

    def _lost(self) -> str | None:
        """A note where a gradient that failed is mostly too small for fp16."""
        lost = [
            f"{share:.0%} of {name}'s gradient"
            for name, share in self._underflow.items()
            if share > 0.5 and not within(*self._errors[(name, "gradient")])
        ]
        if not lost:
            return None
        more = f" and of {len(lost) - 3} more" if len(lost) > 3 else ""
        return (
            f"{', '.join(lost[:3])}{more} is below fp16's normal range at loss scale {self._net.loss_scale:g}: a larger "
            f"{option('loss_scale')}, normalisation, pretrained weights or {option('dtype', 'fp32')} keeps it"
        )

    def _report(self) -> Report:
        rows = tuple(
            Row(
                *key,
                error,
                bound,
                None,
                within(error, bound),
                self._underflow.get(key[0]) if key[1] == "gradient" else None,
            )
            for key, (error, bound) in self._errors.items()
        )
        lost = self._lost()
        digests = {key: digest.digest() for key, digest in self._digests.items()}
        return Report(rows, digests, () if lost is None else (lost,))


def verify(
    net: Net,
    module: nn.Module,
    optimizer: Optimizer,
    trainable: Sequence[str],
    *,
    steps: int = 3,
    accumulated: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
    twin: Net | None = None,
) -> Report:
    """Check a net against float64 PyTorch; `accumulated` samples a step where it was compiled to accumulate.

    `twin`, the host's exact build of the same project, must then show the same bits in every tensor.
    """
    verifier = Verifier(net, module, optimizer, trainable, seed)
    initial = net.save()
    report = verifier.run(steps, accumulated, progress)
    if twin is not None:
        report = report.compared(Verifier(twin, module, optimizer, trainable, seed).run(steps, accumulated))
    if not net.on_device and net.project.options.dtype is Precision.FP16:
        report = verifier.with_movement(report, initial)
    return with_forgetting(report, net, initial, verifier.sample())
