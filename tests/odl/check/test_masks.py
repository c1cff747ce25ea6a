"""Aligning the reference's kinks with the device's takes over what rounding explains and hides nothing else."""

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from odl.check.masks import AlignedMasks, DeviceActivation, DeviceWinners, rounding_noise
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


def test_the_model_goes_on_from_the_devices_value_and_the_difference_is_kept() -> None:
    x = torch.tensor([3.0, -1.0, 4.0], dtype=torch.float64)
    masks = AlignedMasks([DeviceActivation("relu", np.array([3.0, 0.0, 4.5]), 0.0, INFINITY)], 1e-3)
    with masks:
        assert torch.relu(x).tolist() == [3.0, 0.0, 4.5]
    assert masks.errors["relu"] == pytest.approx(0.1)


def test_a_nan_on_the_device_is_an_error_that_is_nan() -> None:
    masks = AlignedMasks([DeviceActivation("relu", np.array([1.0, np.nan]), 0.0, INFINITY)], 1e-3, (1.0,))
    with masks:
        torch.relu(torch.ones(2, dtype=torch.float64))
    assert np.isnan(masks.errors["relu"])


def test_noise_at_a_kink_is_no_error_of_its_activation() -> None:
    """Values that are small beside what rounding does to them are judged by the rounding."""
    x = torch.full((100,), 1e-3, dtype=torch.float64)
    device = DeviceActivation("relu", np.full(100, 2e-3), 0.0, INFINITY)
    for noise, passes in (((1e-2,), True), ((1e-5,), False)):
        masks = AlignedMasks([device], 1e-2, noise)
        with masks:
            torch.relu(x)
        assert (masks.errors["relu"] <= 1e-2) is passes


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
    devices = [DeviceActivation(name, np.full(1000, 0.1), 0.0, INFINITY) for name in ("first", "second")]
    for dtype in (torch.float64, torch.float32):
        x = torch.full((1000,), 0.1, dtype=torch.float64).to(dtype)
        masks = AlignedMasks(devices, 0.0)
        with masks:
            torch.relu(functional.relu6(x) * 3)
        recorded.append(masks)
    noise = rounding_noise(*recorded)
    assert len(noise) == 2
    assert noise[0] == pytest.approx(abs(float(np.float32(0.1)) - 0.1))
    assert 0 < noise[1] < 1e-6
