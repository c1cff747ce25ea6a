"""`odl verify` sees a network that does not forget as its log promises."""

import pytest
import torch

import odl
from odl.check.verify import verify
from tests.networks import INPUT, tiny

LOG = odl.Log(samples=6, states=3)


def compiled(learn=LOG, **options):
    return odl.compile(tiny(), torch.zeros(1, *INPUT), learn=learn, prefix="net", **options)


def forgetting(report):
    return next((row for row in report.rows if row.kind == "forgetting"), None)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "fp16"},
        {"dtype": "mixed", "learn": (odl.Log(samples=2, states=1), odl.Replay()), "accumulate": True},
        {"dtype": "fp32", "learn": odl.Log(samples=1, states=1)},
    ],
    ids=str,
)
def test_a_log_that_works_holds(options):
    report = compiled(**options).verify(steps=1)
    assert report.ok and forgetting(report).bit_exact


def test_without_a_log_there_is_no_such_row():
    assert forgetting(compiled(learn=()).verify(steps=1)) is None


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (
            "if (is_listed(*log_id(step), ids, count)) {\n            continue;",
            "if (0) {\n            continue;",
        ),
        ("erase_log(net_state.log_count);", ""),
        ("odl_parallel(move_state);\n    odl_parallel(run_refresh);", "odl_parallel(run_refresh);"),
        ("if (step % NET_LOG_SLICE == 0) {\n        keep_state", "if (step == 4) {\n        keep_state"),
    ],
)
def test_a_planted_fault_is_seen(right, wrong, tmp_path):
    build = compiled(dtype="mixed")
    project = build.save(tmp_path / "net")
    source = project / "net.c"
    text = source.read_text()
    assert text.count(right) == 1, text[text.index("net_forget(") :][:1500]
    source.write_text(text.replace(right, wrong))
    net = odl.Net(project)
    report = verify(
        net, build.module, build.compiled.network.options.optimizer, build.compiled.trainable, steps=1
    )
    assert not report.ok and not forgetting(report).ok
