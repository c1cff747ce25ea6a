"""The analytic head: sums of integers that forget exactly, weights in closed form, and what a device refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import odl
from odl.errors import CompileWarning, InputError
from odl.graph.ir import Role
from odl.operators.analytic_head import AnalyticWeights, Covariance
from odl.project.status import Status
from tests.networks import CLASSES, INPUT, samples, tiny, tiny_build

HEAD = odl.AnalyticHead(shrinkage=0.01, limits=(1.0,))
COUNT = 40


def deep(seed=0):
    """Two convolutions, so that there is a layer to choose."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(30, 3)
    )  # fmt: skip


def head_build(head=HEAD, **options):
    return tiny_build(learn=head, **{"dtype": "mixed", **options})


def records(net):
    return {name: net.tensor(name) for name, value in net.tensors().items() if value.role is Role.RECORD}


def statistics(net):
    return {name: net.tensor(f"head:{name}") for name in ("gram", "sums", "counts")}


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(range(COUNT)),
    gone=st.integers(25, COUNT - 5),
    solves=st.sets(st.integers(0, COUNT)),
)
def test_samples_that_were_taken_out_leave_the_bits_of_never_having_been_seen(order, gone, solves):
    """At least 25 deletions in each of 40 cases: 1,000."""
    x, y = samples(COUNT)
    net, fresh = head_build().load(), head_build().load()
    for place, index in enumerate(order):
        net.head_add(x[index], y[index])
        if place in solves and place > 10:
            net.head_solve()
    removed = sorted(order)[:gone]
    for index in removed:
        net.head_remove(x[index], y[index])
    kept = [index for index in range(COUNT) if index not in removed]
    fresh.head_add(x[kept], y[kept])
    assert net.save() == fresh.save()
    for each in (net, fresh):
        each.head_solve()
    assert net.save() == fresh.save()
    for index in kept:
        net.head_remove(x[index], y[index])
    assert net.save() == head_build().load().save()


@pytest.mark.parametrize("form", ["slda", "ridge"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
def test_features_sums_and_weights_are_those_of_float64(form, dtype):
    head = odl.AnalyticHead(layers=("0", "2"), form=form, shrinkage=0.01)
    x, y = samples(COUNT)
    build = odl.compile(deep(), torch.zeros(1, *INPUT), calibration=x, learn=head, dtype=dtype)
    net = build.load()
    module = build.module.double()
    with torch.no_grad():
        first = module[:2](x.double())
        second = module[2:4](first)
    averages = [item.mean(dim=(2, 3)).numpy() for item in (first, second)]
    (own,) = build.compiled.network.options.learn
    np.testing.assert_allclose(own.limits, [item.max() for item in averages], rtol=1e-5)
    exact = np.concatenate(
        [item * 127 / limit for item, limit in zip(averages, own.limits, strict=True)], axis=1
    )
    features = np.empty(exact.shape, int)
    before = statistics(net)["sums"]
    for index in range(COUNT):
        net.head_add(x[index], y[index])
        after = statistics(net)["sums"]
        features[index], before = (after - before)[int(y[index])], after
    assert np.abs(features - exact).max() <= 0.5 + (0.001 if dtype == "fp32" else 0.2)
    found = statistics(net)
    assert np.array_equal(found["gram"], (features.T @ features)[np.triu_indices(features.shape[1])])
    assert found["counts"].tolist() == np.bincount(y, minlength=CLASSES).tolist()
    net.head_solve()
    size = features.shape[1]
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = Covariance(0.01, form == "slda").reference(**found)["a"]
    matrix += np.triu(matrix, 1).T
    factor = np.linalg.cholesky(matrix).T[np.triu_indices(size)]
    wanted = AnalyticWeights(form == "slda").reference(u=factor, sums=found["sums"], counts=found["counts"])
    bound = size * 2.0**-22 * np.linalg.cond(matrix)
    for name, array in wanted.items():
        assert np.linalg.norm(net.tensor(f"head:{name}") - array) <= bound * np.linalg.norm(array), name
    scores = features @ net.tensor("head:weights").astype(float).T + net.tensor("head:bias")
    np.testing.assert_allclose(net.head_infer(x), scores, rtol=1e-4, atol=1e-4)


def test_it_tells_classes_apart_that_it_was_shown():
    x, y = samples(200)
    x += 1.5 * torch.nn.functional.one_hot(y, 3)[:, :, None, None]
    net = odl.compile(deep(), torch.zeros(1, *INPUT), calibration=x[:50], learn=odl.AnalyticHead()).load()
    net.head_add(x[:150], y[:150])
    net.head_solve()
    assert (net.head_infer(x[150:]).argmax(axis=1) == y[150:].numpy()).mean() > 0.9


def refused(net, status, call, *arguments):
    before = net.save()
    with pytest.raises(InputError, match=status.text.split("(")[0]):
        call(*arguments)
    assert net.status is status and net.save() == before


def test_what_cannot_be_is_refused_and_changes_nothing():
    net = head_build(dtype="fp32").load()
    x, y = samples(4)
    refused(net, Status.HEAD_EMPTY, net.head_solve)
    refused(net, Status.HEAD_EMPTY, net.head_remove, x[0], y[0])
    refused(net, Status.HEAD_UNSOLVED, net.head_infer, x)
    net.head_add(x[0], [0])
    refused(net, Status.HEAD_SINGULAR, net.head_solve)  # one sample does not vary
    refused(net, Status.HEAD_EMPTY, net.head_remove, x[0], [1])
    net.head_add(x[1:], [0, 1, 2])
    net.head_solve()
    net.train_step(x[0], y[0])
    refused(net, Status.HEAD_STALE, net.head_add, x[0], [0])
    refused(net, Status.HEAD_STALE, net.head_remove, x[0], [0])
    refused(net, Status.HEAD_STALE, net.head_infer, x[0])
    net.head_reset()
    assert not any(array.any() for array in records(net).values())
    net.head_add(x[0], [0])
    notes = net.tensor("head:sample")
    net.set_tensor("head:sample", np.array([*notes[:2], 133_144, *notes[3:]], np.int32))
    refused(net, Status.HEAD_FULL, net.head_add, x[0], [0])
    with pytest.raises(InputError, match="x has 4 samples"):
        net.head_add(x, [0])
    with pytest.raises(InputError, match="label 3"):
        net.head_add(x[0], [3])
    with pytest.raises(InputError, match='needs a network compiled with learn="head"'):
        tiny_build().load().head_add(x[0], [0])


def test_features_beyond_numbers_are_no_sample():
    net = head_build(dtype="fp32").load()
    x, _ = samples(1)
    weight = net.tensor("0.bias")
    net.set_tensor("0.bias", np.full_like(weight, 3e38))
    refused(net, Status.HEAD_RANGE, net.head_add, x * 1e30, [0])
    net.set_tensor("0.bias", weight)
    net._arena[net._tensors["0.bias"].offset : net._tensors["0.bias"].offset + 4] = np.float32(
        np.nan
    ).tobytes()
    with pytest.raises(InputError, match=r"a weight or statistic"):
        net.head_add(x, [0])
    assert not net.tensor("head:counts").any()


def test_training_above_the_features_leaves_the_samples_valid():
    net = head_build(update="last:1").load()
    x, y = samples(12)
    net.head_add(x, y)
    net.train_step(x[0], y[0])
    net.head_add(x[0], y[0])
    net.head_solve()
    assert net.head_infer(x).shape == (12, CLASSES)


def test_training_has_the_same_bits_with_and_without():
    plain, learning = tiny_build(dtype="mixed").load(), head_build().load()
    for x, y in zip(*samples(5), strict=True):
        learning.head_reset()
        learning.head_add(x, y)
        assert plain.train_step(x, y) == learning.train_step(x, y)
        assert np.array_equal(plain.infer(x), learning.infer(x))
    for name in plain.tensors():
        assert np.array_equal(plain.tensor(name), learning.tensor(name)), name


def test_a_saved_head_goes_on_where_it_was_and_only_in_the_same_steps():
    x, y = samples(COUNT)
    net, other = head_build().load(), head_build().load()
    net.head_add(x[:20], y[:20])
    net.head_solve()
    other.load(net.save())
    assert np.array_equal(other.head_infer(x), net.head_infer(x))
    for each in (net, other):
        each.head_add(x[20:], y[20:])
        each.head_remove(x[:5], y[:5])
        each.head_solve()
    assert other.save() == net.save()
    for changed in (replace(HEAD, limits=(2.0,)), replace(HEAD, form="ridge")):
        coarse = head_build(changed).load()
        coarse.load(net.save())
        assert not any(array.any() for array in records(coarse).values()), "sums of other features"
    tiny_build(dtype="mixed").load().load(net.save())


def test_its_bytes_are_stated_and_a_project_without_it_has_none(tmp_path):
    build = head_build()
    size = 4
    stated = 4 * (size * (size + 1) // 2 + 2 * CLASSES * size + 2 * CLASSES + 6)
    assert build.memory["ram"]["by_purpose"]["records"] == stated
    build.save(tmp_path / "with")
    tiny_build(dtype="mixed").save(tmp_path / "without")
    options = json.loads((tmp_path / "with" / "manifest.json").read_text())["options"]
    assert options["learn"] == [
        {"name": "head", "layers": 4, "form": "slda", "shrinkage": 0.01, "limits": [1.0]}
    ]
    assert "net_head_add" in (tmp_path / "with" / "net.h").read_text()
    assert "head" not in (tmp_path / "without" / "net.h").read_text().lower().replace("header", "").replace(
        "ahead", ""
    )


CHECKED = {"head features", "head weights", "head scores", "head sums"}


@pytest.mark.parametrize("form", ["slda", "ridge"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "mixed"])
def test_such_a_project_is_verified_and_so_is_the_head(form, dtype):
    head = odl.AnalyticHead(form=form, shrinkage=0.1, limits=(0.5, 0.5))
    build = odl.compile(deep(), torch.zeros(1, *INPUT), learn=head, dtype=dtype)
    report = build.verify(steps=1)
    assert {row.tensor for row in report.rows} >= CHECKED
    assert all(row.ok for row in report.rows if row.tensor in CHECKED), report.rows


@pytest.mark.parametrize(
    ("kernel", "before", "after", "tensor"),
    [
        ("quantise", "* factor_a", "* factor_a * 1.1f", "head features"),
        ("gram_update", "factor * from[j]", "factor * from[j] + 40", "head sums"),
        ("covariance", "shrinkage * (trace", "2.0f * shrinkage * (trace", "head weights"),
        ("integer_linear", "float sum = bias[c];", "float sum = 0.9f * bias[c];", "head scores"),
    ],
)
def test_verification_sees_what_is_wrong_with_the_head(tmp_path, kernel, before, after, tensor):
    head = odl.AnalyticHead(shrinkage=0.1, limits=(0.5, 0.5))
    build = odl.compile(deep(), torch.zeros(1, *INPUT), learn=head, dtype="fp32", prefix="net")
    build.save(tmp_path / "net")
    (file,) = (tmp_path / "net" / "kernels").glob(f"net_{kernel}*.c")
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    wrong = {row.tensor for row in build.verify(steps=1).rows if not row.ok}
    assert tensor in wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn": odl.AnalyticHead(layers=("9",))}, "no layer '9' to take features from; it has 0, 3, 4"),
        ({"learn": HEAD, "bn": "train"}, 'learn="head" takes single samples.*batch of 1'),
        ({"learn": HEAD, "batch": 2}, 'learn="head" takes single samples.*batch of 1'),
        ({"learn": HEAD, "loss": "mse"}, 'learn="head" takes single samples.*cross_entropy'),
        (
            {"learn": replace(HEAD, limits=(1.0, 2.0))},
            "head_limits has 2 numbers; the analytic head has 1 layers",
        ),
    ],
)
def test_what_it_cannot_be_is_said(options, message):
    with pytest.raises(InputError, match=message):
        tiny_build(**options)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layers", 5, "must be a number of blocks from 1 to 4"),
        ("layers", 0, "must be a number of blocks from 1 to 4"),
        ("layers", [1], "must be a number of blocks from 1 to 4"),
        ("form", "lda", "must be one of slda, ridge"),
        ("shrinkage", 0.0, "must be between 1e-09 and 1000"),
        ("limits", [0.0], "must be between 1e-09 and 1e"),
        ("limits", 1.0, "must be a list"),
    ],
)
def test_settings_have_limits(field, value, message):
    with pytest.raises(InputError, match=f"head_{field}.*{message}"):
        odl.AnalyticHead(**{field: value})


def test_settings_may_come_as_text():
    head = odl.AnalyticHead(layers="0, 2", limits="1.5,2")
    assert head.layers == ("0", "2") and head.limits == (1.5, 2.0)
    assert odl.AnalyticHead(layers="3").layers == 3


def test_calibration_data_must_fit():
    example = torch.zeros(1, *INPUT)
    with pytest.warns(CompileWarning, match="scaled for random inputs"):
        odl.compile(tiny(), example, learn="head")
    with pytest.raises(InputError, match=r"calibration data has shape \(2, 3\)"):
        odl.compile(tiny(), example, learn="head", calibration=np.ones((2, 3)))
    with pytest.raises(InputError, match="calibration holds NaN"):
        odl.compile(tiny(), example, learn="head", calibration=np.full((1, *INPUT), np.nan))
    with pytest.raises(InputError, match=r'calibration data is for learn="head"'):
        odl.compile(tiny(), example, calibration=samples(3)[0])
    dead = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    with torch.no_grad():
        dead[0].weight.zero_()
        dead[0].bias.fill_(-1.0)
    with pytest.raises(InputError, match="averages to 0 over all calibration data"):
        odl.compile(dead, example, learn="head", calibration=samples(3)[0])
    dense = nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(InputError, match="has no convolution; name layers of"):
        odl.compile(dense, example, learn="head")
    net = odl.compile(dense, example, learn=odl.AnalyticHead(layers=("1",)), calibration=samples(9)[0]).load()
    net.head_add(*samples(30))
    net.head_solve()
    assert np.isfinite(net.head_infer(samples(3)[0])).all()
