"""Deep autoencoder: the anomaly detection network of MLPerf Tiny (640 spectrogram values in and out)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

WIDTHS = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)


class Autoencoder(nn.Module):
    """Input and output [N, 640]; the loss is the mean squared error between them."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(WIDTHS[:-1]):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        layers.append(nn.Linear(WIDTHS[-2], WIDTHS[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x."""
        reconstruction: Tensor = self.layers(x)
        return reconstruction
