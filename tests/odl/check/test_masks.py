"""Aligning the reference's kinks with the device's takes over what rounding explains and hides nothing else."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from odl.check.masks import AlignedMasks, DeviceActivation, DeviceWinners, KinkInputs, rounding_noise
from odl.errors import CheckFailedError

INFINITY = float("inf")
#: One unit at the kink, three far from it.
INPUTS = [1e-7, -1.0, 2.0, 0.5]


def gradient(x: torch.Tensor, output: list[float], band: float, noise: tuple[float, ...] = ()) -> list[float]:
    """The mask that relu's gradient has when the device's output was `output`."""
    x = x.clone().requires_grad_(True)
    device = DeviceActivation("relu", np.array(output), 0.0, INFINITY)
    with AlignedMasks([device], band, noise):
        y = torch.relu(x)
    y.sum().backward()
    assert x.grad is not None
    return x.grad.tolist()


def test_a_flip_inside_the_band_is_taken_over() -> None:
    x = torch.tensor(INPUTS, dtype=torch.float64)
    assert gradient(x, [0.0, 0.0, 2.0, 0.5], band=1e-5) == [0.0, 0.0, 1.0, 1.0]
    assert gradient(x, [1e-7, 0.0, 2.0, 0.5], band=1e-5) == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("unit", [1, 2, 3])
def test_a_wrong_mask_far_from_the_kink_is_not_taken_over(unit: int) -> None:
    x = torch.tensor(INPUTS, dtype=torch.float64)
    output = [max(value, 0.0) for value in INPUTS]
    output[unit] = 1.0 if output[unit] == 0.0 else 0.0
    assert gradient(x, output, band=1e-2) == [1.0, 0.0, 1.0, 1.0]


def test_without_a_band_the_reference_keeps_every_unit() -> None:
    x = torch.tensor(INPUTS, dtype=torch.float64)
    assert gradient(x, [0.0, 5.0, 0.0, 0.0], band=0.0) == [1.0, 0.0, 1.0, 1.0]


def test_a_nan_on_the_device_counts_as_blocked_and_only_in_the_band() -> None:
    x = torch.tensor(INPUTS, dtype=torch.float64)
    assert gradient(x, [float("nan")] * 4, band=1e-5) == [0.0, 0.0, 1.0, 1.0]


def test_noise_widens_the_band_at_its_own_kink_only() -> None:
    x = torch.tensor([1e-3, -1e-3, 1.0], dtype=torch.float64)
    assert gradient(x, [0.0, 1e-3, 1.0], band=1e-6, noise=(1e-2,)) == [0.0, 1.0, 1.0]
    assert gradient(x, [0.0, 1e-3, 1.0], band=1e-6, noise=(1e-5, 1e-2)) == [1.0, 0.0, 1.0]


def test_the_value_is_never_the_devices() -> None:
    x = torch.tensor(INPUTS, dtype=torch.float64)
    with AlignedMasks([DeviceActivation("relu", np.full(4, 7.0), 0.0, INFINITY)], 1.0):
        assert torch.equal(torch.relu(x), x.clamp(min=0))


def test_relu6_has_a_kink_at_each_end() -> None:
    x = torch.tensor([6.0 - 1e-7, 5.0, 7.0, 1e-7], dtype=torch.float64, requires_grad=True)
    device = DeviceActivation("relu6", np.array([6.0, 6.0, 5.0, 0.0]), 0.0, 6.0)
    with AlignedMasks([device], 1e-6):
        functional.relu6(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 0.0]


def test_flips_are_counted_and_measured_against_what_rounding_explains() -> None:
    x = torch.randn(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masks = AlignedMasks([DeviceActivation("relu", (x + 5e-4).clamp(min=0).numpy(), 0.0, INFINITY)], 1e-3)
    with masks:
        torch.relu(x)
    assert 0 < masks.flips["relu"].share <= masks.flips["relu"].explained
    inside = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-4
    inside[:100] = 1.0
    masks = AlignedMasks([DeviceActivation("relu", np.zeros(10_000), 0.0, INFINITY)], 1e-2)
    with masks:
        torch.relu(inside)
    assert masks.flips["relu"].share == pytest.approx(0.99)
    assert masks.flips["relu"].share > masks.flips["relu"].explained


def test_pooling_winners_follow_the_device_among_near_equals_only() -> None:
    x = torch.tensor([[[[1.0, 1.0 + 1e-9, 5.0, 1.0]]]], dtype=torch.float64, requires_grad=True)
    device = DeviceWinners("pool", np.array([[[[0, 1]]]]))
    with AlignedMasks([device], 1e-6):
        functional.max_pool2d(x, (1, 2)).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.0, 0.0, 1.0, 0.0]


def test_an_activation_in_place_of_another_is_an_error() -> None:
    with (
        pytest.raises(CheckFailedError, match="'pool' on the device"),
        AlignedMasks([DeviceWinners("pool", np.zeros((1, 1, 1, 1)))], 1e-6),
    ):
        torch.relu(torch.zeros(1, 1, 1, 1))


def test_rounding_noise_is_what_float32_did_to_each_kinks_input() -> None:
    recorded = []
    for dtype in (torch.float64, torch.float32):
        x = torch.full((1000,), 0.1, dtype=torch.float64).to(dtype)
        with KinkInputs() as inputs:
            torch.relu(functional.relu6(x) * 3)
        recorded.append(inputs)
    noise = rounding_noise(*recorded)
    assert len(noise) == 2
    assert noise[0] == pytest.approx(abs(float(np.float32(0.1)) - 0.1))
    assert 0 < noise[1] < 1e-6
