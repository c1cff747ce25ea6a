"""Cases and jobs of a tiny network."""

from __future__ import annotations

import functools

import torch

from odl.compiler import compile_network
from odl.options import Options
from odl.precision import Precision
from odl.targets.cv32e40p.description import Cluster
from odl.tune.case import Case, collect_cases
from odl.tune.job import Job
from odl.tune.search import open_jobs
from tests.networks import INPUT, tiny


@functools.cache
def tiny_cases(dtype: str = "fp16", cores: int = 2) -> tuple[Case, ...]:
    options = Options(target="cv32e40p", dtype=Precision(dtype), cores=cores)
    example = torch.zeros(1, *INPUT)
    compiled = compile_network(tiny(), example, "tiny", options, choose=lambda call: call)
    return tuple(collect_cases(compiled.network.schedule, Cluster(cores=cores)))


def tiny_jobs(everything: bool = True) -> list[Job]:
    """A job for each kernel of the tiny network in three precisions."""
    cases = [case for dtype in ("fp16", "mixed", "fp32") for case in tiny_cases(dtype)]
    return open_jobs(cases, {}, everything)
