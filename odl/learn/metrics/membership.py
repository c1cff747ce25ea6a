"""Membership inference: can an attacker tell that a sample was learned?

The attack that the unlearning literature reports (Jia et al. 2023, "Model Sparsity Can Simplify Machine Unlearning",
arXiv:2304.04934, appendix C; Fan et al. 2023, SalUn, arXiv:2310.12508): an SVC on the confidence in the true class, fitted
on retained samples as members and unseen ones as non-members.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

#: Samples of either kind that the attack is fitted on.
_MOST = 500


def non_members(
    members: NDArray[np.float32], others: NDArray[np.float32], judged: NDArray[np.float32]
) -> float:
    """Percent of `judged` that the attack takes for non-members; all are confidences in the true class [N], in 0..1.

    The attack is fitted on equally many members and others. 100 is what is never recognised; what counts is the distance
    to a retrained network's value, not the value.
    """
    count = min(len(members), len(others), _MOST)
    x = np.concatenate([members[:count], others[:count]])[:, None].astype(np.float64)
    y = np.repeat([1, 0], count)
    attack = SVC(C=3, kernel="rbf", gamma="auto").fit(x, y)
    return 100 * float((attack.predict(judged[:, None].astype(np.float64)) == 0).mean())
