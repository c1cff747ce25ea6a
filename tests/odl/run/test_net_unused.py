"""Tensors of a module that its forward pass never reads: not on the device, and back unchanged in a state_dict."""

import copy

import pytest
import torch
from torch import nn

import odl
from odl.errors import InputError

pytestmark = pytest.mark.usefixtures("private_cache")


class Spare(nn.Module):
    """A layer that is used, and beside it every kind of tensor that the forward pass never reads."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.spare, self.spare_norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("notes", torch.arange(3.0), persistent=False)

    def forward(self, x):
        return self.norm(self.layer(x))


@pytest.mark.parametrize("bn", ["fold", "frozen", "train"])
def test_what_the_model_never_uses_comes_back_unchanged(bn):
    torch.manual_seed(0)
    build = odl.compile(Spare(), torch.zeros(4, 4), bn=bn, dtype="fp32", optimizer=odl.SGD(0.1))
    before = {name: tensor.clone() for name, tensor in build.module.state_dict().items()}
    unused = {"spare.weight", "spare.bias", "mask"}
    unused |= {f"spare_norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
    assert set(build.unused) == unused
    names = {value.name for value, _ in build.compiled.network.schedule.persistent}
    assert not names & unused, "no byte of the device goes to what it never reads"
    net = build.load()
    net.train_step(torch.randn(4, 4), [0, 1, 2, 0])
    after = net.state_dict()
    module = copy.deepcopy(build.module)
    module.load_state_dict(after)
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == before[name].dtype and torch.equal(tensor, after[name]), name
        if name in unused:
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(after["layer.weight"], before["layer.weight"])
    assert int(after["spare_norm.num_batches_tracked"]) == 0
    if bn != "fold":
        assert int(after["norm.num_batches_tracked"]) == (1 if bn == "train" else 0)
    after["spare.weight"][0, 0] = 7.0  # a copy: the net's own is not touched
    assert torch.equal(net.state_dict()["spare.weight"], before["spare.weight"])
    net.load_state_dict(after)
    assert float(net.state_dict()["spare.weight"][0, 0]) == 7.0
    assert torch.equal(build.load().state_dict()["spare.weight"], before["spare.weight"])


def test_states_without_or_with_wrong_unused_tensors():
    build = odl.compile(Spare(), torch.zeros(1, 4), dtype="fp32")
    net = build.load()
    own = net.state_dict()
    used = {name: tensor for name, tensor in own.items() if name not in build.unused}
    net.load_state_dict(used)
    assert torch.equal(net.state_dict()["spare.weight"], own["spare.weight"])
    with pytest.raises(InputError, match=r"'spare\.bias' has shape \(3,\), expected \(2,\)"):
        net.load_state_dict({**own, "layer.bias": torch.ones(3), "spare.bias": torch.zeros(3)})
    assert torch.equal(net.state_dict()["layer.bias"], own["layer.bias"]), "nothing is changed by half"
    with pytest.raises(InputError, match=r"unexpected spare\.else"):
        net.load_state_dict({**own, "spare.else": torch.zeros(1)})
    from_directory = odl.Net(build.directory)
    assert set(from_directory.state_dict()) == set(own) - set(build.unused)
    build.module.load_state_dict(from_directory.state_dict(), strict=False)
