"""Benchmarks print ratios: absolute times on a shared machine mean little."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

GOALS = {
    "fast fp32 step / PyTorch eager": ("test_fast_fp32_step", "test_pytorch_eager_step", 3.0),
    "fast mixed step / PyTorch eager": ("test_fast_mixed_step", "test_pytorch_eager_step", None),
    "exact fp16 step / PyTorch eager": ("test_exact_fp16_step", "test_pytorch_eager_step", 20.0),
}
RESULTS = Path(__file__).parent.parent / "build" / "benchmarks"


def pytest_configure(config: pytest.Config) -> None:
    """One thread everywhere, so that PyTorch and the generated C use the same processor."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The ratios of this run, as a table and as build/benchmarks/host.json."""
    session = getattr(config, "_benchmarksession", None)
    if session is None:
        return
    medians = {item.name: item.stats.median for item in session.benchmarks if item.stats.rounds}
    rows = [
        {"ratio": name, "value": medians[above] / medians[below], "goal": goal}
        for name, (above, below, goal) in GOALS.items()
        if above in medians and below in medians
    ]
    if "test_compile_resnet8" in medians:
        rows.append(
            {"ratio": "compile ResNet8, seconds", "value": medians["test_compile_resnet8"], "goal": 10.0}
        )
    if not rows:
        return
    terminalreporter.section("ResNet8 on the host, one thread, batch 1: medians of this run")
    for row in rows:
        goal = "" if row["goal"] is None else f"   goal <= {row['goal']:g}"
        terminalreporter.write_line(f"{row['ratio']:<36} {row['value']:8.2f}{goal}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "host.json").write_text(
        json.dumps({"ratios": rows, "median_seconds": medians}, indent=1) + "\n"
    )
    terminalreporter.write_line(f"written to {RESULTS / 'host.json'}")
