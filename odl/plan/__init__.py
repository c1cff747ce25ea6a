"""Memory plan: lifetimes to fixed addresses in one arena per memory, and an independent check of the result.

`plan_memory` packs, `verify_plan` replays what the network reads and writes, `memory_manifest` and
`memory_table` tell.
"""

from __future__ import annotations

from odl.plan.buffers import UNUSED, Buffer, MemoryPlan, Placement, Purpose
from odl.plan.pack import plan_memory
from odl.plan.report import memory_manifest, memory_map, memory_table
from odl.plan.verify import Access, PlanError, verify_plan

__all__ = [
    "UNUSED",
    "Access",
    "Buffer",
    "MemoryPlan",
    "Placement",
    "PlanError",
    "Purpose",
    "memory_manifest",
    "memory_map",
    "memory_table",
    "plan_memory",
    "verify_plan",
]
