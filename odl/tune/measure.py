"""Measures a job: correctness first, then cycles.

Every variant's memory after the call must be, bit for bit, what the exact host build of the same variant leaves, and
differ from before only where the kernel writes; where the order of sums is the same, all variants must agree too.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from odl.errors import InputError
from odl.targets.cv32e40p.run_program import run
from odl.tune.build import VariantError, compiled_kernel, device_compiler, device_program, host_program
from odl.tune.job import Job, Measured, Timing
from odl.tune.key import headers_digest

Result = TypeVar("Result")
_HOST_SECONDS = 120
#: L2 beside operands and results: code and the runtime.
_L2_RESERVE = 512 * 1024


def measure(job: Job) -> Measured:
    """Cycles of each variant, or what is wrong with it. InputError where this machine has another odl's headers."""
    if job.headers != headers_digest():
        raise InputError("a worker has other kernels than this odl; install the same version everywhere")
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="odl-tune-") as name:
        folder = Path(name)
        (folder / "case_kernels.h").write_text(job.header, encoding="utf-8")
        (folder / "program.c").write_text(job.program, encoding="utf-8")
        compiler = device_compiler(job)
        for variant, function in zip(job.variants, job.functions, strict=True):
            try:
                compiled_kernel(job, function, compiler, folder)
            except VariantError as error:
                problems[variant] = f"does not compile: {error}"
        sound = [index for index, variant in enumerate(job.variants) if variant not in problems]
        data = operands(job)
        found = _each(job, sound, partial(_simulated, job, data, folder), "on the device", problems)
        expected = _each(job, sound, partial(_on_host, job, data, folder), "on the host", problems)
    return _judged(job, data, found, expected, problems)


def operands(job: Job) -> bytes:
    """Random operands between guard zones; the same for the same key anywhere."""
    seed = int.from_bytes(hashlib.sha256(job.key.encode()).digest()[:8], "little")
    random = np.random.default_rng(seed)
    data = bytearray(b"\xff" * job.total_bytes)
    for field in job.fields:
        if field.dtype == "u1":
            values = random.integers(0, 2, field.count).astype(np.uint8)
        else:
            values = random.standard_normal(field.count).astype(field.dtype)
        data[field.offset : field.offset + values.nbytes] = values.tobytes()
    return bytes(data)


def _each(
    job: Job,
    chosen: Sequence[int],
    run: Callable[[Sequence[int]], dict[int, Result]],
    where: str,
    problems: dict[str, str],
) -> dict[int, Result]:
    """What `run` gives, by variant. Where it fails each variant is run alone, and `problems` gets those that fail."""
    if not chosen:
        return {}
    try:
        return run(chosen)
    except VariantError as error:
        if len(chosen) == 1:
            problems.setdefault(job.variants[chosen[0]], f"fails {where}: {error}")
            return {}
    parts = [_each(job, [index], run, where, problems) for index in chosen]
    return {index: item for part in parts for index, item in part.items()}


def _simulated(job: Job, data: bytes, folder: Path, chosen: Sequence[int]) -> dict[int, tuple[int, bytes]]:
    """Cycles and memory after, by variant."""
    size = len(data)
    room = size * (len(job.variants) + 1) + _L2_RESERVE
    cluster = replace(job.cluster, l2_bytes=max(job.cluster.l2_bytes, -(-room // 65536) * 65536))
    elf = device_program(job, chosen, folder, cluster.l2_bytes)
    limit = job.max_cycles * len(chosen) + 4 * size
    result = run(elf, cluster, load={"case_data": data}, dump=["case_results"], max_cycles=limit, threads=1)
    if result.fault is not None or result.exit_status != 0:
        raise VariantError(str(result.fault) if result.fault else f"ended with status {result.exit_status}")
    memory = result.dumps["case_results"]
    cycle = {mark.id: mark.count for mark in result.marks}
    return {
        index: (cycle[2 * index + 1] - cycle[2 * index], memory[index * size : (index + 1) * size])
        for index in chosen
    }


def _on_host(job: Job, data: bytes, folder: Path, chosen: Sequence[int]) -> dict[int, bytes]:
    """Memory after, by variant, as the exact host build leaves it."""
    program = host_program(job, chosen, folder)
    try:
        done = subprocess.run(
            [str(program)], input=data, capture_output=True, timeout=_HOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise VariantError("does not end") from None
    if done.returncode != 0:
        raise VariantError(f"ended with {done.returncode}")
    size = len(data)
    return {index: done.stdout[index * size : (index + 1) * size] for index in chosen}


def _judged(
    job: Job,
    data: bytes,
    found: Mapping[int, tuple[int, bytes]],
    expected: Mapping[int, bytes],
    problems: Mapping[str, str],
) -> Measured:
    timings = []
    reference = found[0][1] if 0 in found and 0 in expected and found[0][1] == expected[0] else None
    for index, variant in enumerate(job.variants):
        problem = problems.get(variant)
        cycles, memory = found.get(index, (None, b""))
        if problem is None:
            problem = _difference(job, data, memory, expected.get(index, b""))
        if problem is None and reference is not None and memory != reference:
            problem = f"other bits than the first variant, at {_place(job, memory, reference)}"
        timings.append(Timing(variant, cycles if problem is None else None, problem))
    return Measured(job.key, tuple(timings))


def _difference(job: Job, data: bytes, memory: bytes, expected: bytes) -> str | None:
    if memory != expected:
        return f"other bits than the host's, at {_place(job, memory, expected)}"
    untouched = bytearray(memory)
    for field in job.fields:
        if field.written:
            end = field.offset + field.count * np.dtype(field.dtype).itemsize
            untouched[field.offset : end] = data[field.offset : end]
    if bytes(untouched) != data:
        return f"writes outside its outputs, at {_place(job, bytes(untouched), data)}"
    return None


def _place(job: Job, memory: bytes, wanted: bytes) -> str:
    """Where the first difference lies."""
    first = next((at for at, (a, b) in enumerate(zip(memory, wanted, strict=False)) if a != b), 0)
    for field in job.fields:
        size = np.dtype(field.dtype).itemsize
        if field.offset <= first < field.offset + field.count * size:
            return f"element {(first - field.offset) // size} of operand {field.name}"
    return f"byte {first}"
