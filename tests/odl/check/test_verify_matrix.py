"""Networks of the zoo in combinations of batch norm, dtype and optimizer hold the stated bounds."""

import pytest

import odl
from odl import zoo
from odl.check.report import Report, Row
from odl.errors import InputError
from odl.models import resolve
from tests.sampling import every_pair

MODES = ("frozen", "fold", "train")
OPTIMIZERS = {"sgd": odl.SGD(0.01), "momentum": odl.SGD(0.01, momentum=0.9), "adam": odl.Adam(0.001)}
#: Largest relative error that any tensor may show, whatever its own bound. Pure fp16 has the bounds of its sums.
CEILING = {"fp32": 1e-5, "mixed": 2e-2, "fp16": 2e-1}
#: Rows whose error is a share of units, and rows that must hold exactly.
SHARES, EXACT = {"mask"}, {"working copy", "frozen", "skipped step"}
#: What every report must speak of.
ALWAYS = {"loss", "gradient", "weight", "weight change", "inference"}


def batch_of(model: str, bn: str) -> int:
    """PyTorch's own batch norm refuses to train on one value per channel, which dense layers have at batch 1."""
    return 4 if model == "autoencoder" and bn == "train" else 1


def compiled(model: str, bn: str, dtype: str, optimizer: str, accumulate: bool) -> odl.Build:
    made = resolve(model)
    return odl.compile(
        made.module,
        made.example(batch_of(model, bn)),
        loss=made.loss,
        optimizer=OPTIMIZERS[optimizer],
        dtype=dtype,
        bn=bn,
        accumulate=accumulate,
    )


def missing_or_wrong(report: Report, build: odl.Build, dtype: str) -> list[str]:
    """What the report lacks or what is beyond its bound, as text.

    How far the weights go says what fp16 weights lose at these rates; the C computes it as it should.
    """
    rows = [row for row in report.rows if row.kind not in ("movement", "direction")]
    measured = [row for row in rows if row.kind not in SHARES | EXACT]
    problems = [f"{row.kind} of {row.tensor}: {row.rel_l2} > {row.bound}" for row in rows if not row.ok]
    problems += [
        f"{row.kind} of {row.tensor}: {row.rel_l2} > {CEILING[dtype]}"
        for row in measured
        if not row.rel_l2 <= CEILING[dtype]
    ]
    problems += [f"{row.kind} of {row.tensor}: {row.rel_l2}" for row in report.rows if inexact(row)]
    kinds = {row.kind for row in report.rows}
    wanted = set(ALWAYS)
    options = build.compiled.network.options
    if not isinstance(options.optimizer, odl.SGD) or options.optimizer.momentum:
        wanted |= {"optimizer", "optimizer change"}
    if options.bn == "train":
        wanted |= {"statistic", "statistic change"}
    if dtype == "mixed":
        wanted |= {"working copy"}
    problems += [f"no row of kind '{kind}'" for kind in sorted(wanted - kinds)]
    shown = {row.tensor for row in report.rows if row.kind == "gradient"}
    problems += [f"no gradient of {name}" for name, _ in build.module.named_parameters() if name not in shown]
    return problems


def inexact(row: Row) -> bool:
    return row.kind in EXACT and row.rel_l2 != 0.0


#: An optimizer at the usual batch, and the mean over 8 accumulated samples, which no optimizer knows of.
UPDATES = (*((name, 1) for name in OPTIMIZERS), ("momentum", 8))


@pytest.mark.usefixtures("traced_once")
@every_pair(model=sorted(zoo.MODELS), update=UPDATES, dtype=tuple(CEILING), bn=MODES)
def test_network_holds_its_bounds(model: str, update: tuple[str, int], dtype: str, bn: str) -> None:
    optimizer, accumulated = update
    build = compiled(model, bn, dtype, optimizer, accumulated > 1)
    steps = 1 if model == "mobilenetv1" or accumulated > 1 else 2
    report = build.verify(steps=steps, accumulated=accumulated)
    assert missing_or_wrong(report, build, dtype) == []


def test_training_batch_norm_over_dense_layers_needs_a_batch() -> None:
    made = resolve("autoencoder")
    with pytest.raises(InputError, match="batch norm that trains needs several values per channel"):
        odl.compile(made.module, made.example(1), loss="mse", bn="train")
