"""Figures from an accuracy matrix R, whose R[i, j] is the accuracy on stage j's test set after stage i was learned.

Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory", equations 2 to 4; forgetting: Chaudhry et al. 2018,
"Riemannian Walk", equation 3. Accuracies are in percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odl.errors import InputError


@dataclass(frozen=True)
class ContinualFigures:
    """`final` weighs test samples equally; `acc` weighs stages equally.

    `bwt` below zero is what later stages cost earlier ones. `fwt` is what earlier ones did for stages not yet seen, against
    chance. `forgetting` is the way down from each stage's best.
    """

    final: float
    acc: float
    bwt: float
    fwt: float
    forgetting: float


def continual_figures(
    matrix: NDArray[np.float64], samples: NDArray[np.int64], chance: float
) -> ContinualFigures:
    """Figures of a matrix [stages, stages] with the test samples of each stage [stages] and the accuracy of guessing.

    InputError unless it is square, of two stages or more, and of accuracies.
    """
    stages = len(matrix)
    if matrix.shape != (stages, stages) or stages < 2 or not ((matrix >= 0) & (matrix <= 100)).all():
        raise InputError("an accuracy matrix is square, of two stages or more, and in percent")
    last, before = matrix[-1], np.arange(stages - 1)
    return ContinualFigures(
        final=float(np.average(last, weights=samples)),
        acc=float(last.mean()),
        bwt=float((last[before] - matrix[before, before]).mean()),
        fwt=float((matrix[before, before + 1] - chance).mean()),
        forgetting=float(np.mean([matrix[j:-1, j].max() - last[j] for j in before])),
    )
