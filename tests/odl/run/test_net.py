"""The Python interface of a loaded network: what it accepts, what it keeps, and how training goes on."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import odl
from odl.check.bounds import CEILING
from odl.errors import InputError
from odl.graph.ir import Role
from odl.precision import Precision
from tests.networks import CLASSES, INPUT, samples, tiny, tiny_build, written

pytestmark = pytest.mark.usefixtures("private_cache")

MIXED = {"dtype": "mixed", "bn": "train", "optimizer": odl.SGD(0.01, momentum=0.9)}
FP32 = {"dtype": "fp32", "bn": "frozen", "accumulate": True}
ADAM = {"dtype": "mixed", "bn": "fold", "optimizer": odl.Adam(0.001)}
BATCH = {"dtype": "fp32", "bn": "train", "batch": 4}


def load(options):
    return tiny_build(**options).load()


def tensors(net, *roles):
    """Copies of the persistent tensors of these roles (all, when none is given)."""
    return {
        name: net.tensor(name) for name, value in net.tensors().items() if not roles or value.role in roles
    }


def equal(one, other):
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def train(net, steps, seed=1):
    x, y = samples(steps * net.batch, seed)
    return [
        net.train_step(x[at : at + net.batch], y[at : at + net.batch])
        for at in range(0, steps * net.batch, net.batch)
    ]


# ------------------------------------------------------------------------------------------------------ inputs
def test_shapes_and_types_that_are_accepted():
    net = load(FP32)
    x, y = samples(1)
    wanted = net.infer(x)
    assert wanted.shape == (1, CLASSES) and wanted.dtype == np.float32
    for same in (x[0], x.numpy(), x.double().numpy(), x.tolist(), np.asfortranarray(x.numpy())):
        np.testing.assert_array_equal(net.infer(same), wanted)
    one_hot = F.one_hot(y, CLASSES)
    loss = net.accumulate(x, y)
    for same in (int(y), [int(y)], y.numpy(), y.to(torch.int8), one_hot, one_hot.float(), one_hot[0].float()):
        assert net.accumulate(x, same) == loss


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (np.zeros((1, 3, 4, 5)), [0], None, r"x has shape \(1, 3, 4, 5\), expected \(N, 3, 5, 4\)"),
        (np.zeros(()), [0], None, "x has shape"),
        (np.zeros((2, *INPUT)), [0], None, "x has 2 samples; the network was compiled for 1 a step"),
        (np.zeros((0, *INPUT)), [0], None, "x has 0 samples"),
        (np.full((1, *INPUT), np.nan), [0], None, r"x holds NaN or infinity at index \[0, 0, 0, 0\]"),
        (np.full((1, *INPUT), -np.inf), [0], None, "x holds NaN or infinity"),
        (np.full((1, *INPUT), 1e39), [0], None, "x holds NaN or infinity"),
        ("picture", [0], None, "x is no array of numbers"),
        ([[1, 2], [3]], [0], None, "x is no array of numbers"),
        (None, [3], None, "y holds label 3; the network has classes 0 to 2"),
        (None, [-1], None, "y holds label -1; the network has classes 0 to 2"),
        (None, [0, 1], None, "y has 2 labels, expected 1"),
        (None, [], None, r"y has shape \(0,\), expected \(1, 3\), or 1 class numbers"),
        (None, 1.0, None, r"y has shape \(\), expected \(1, 3\), or 1 class numbers"),
        (None, [[0.5, 0.5]], None, r"y has shape \(1, 2\)"),
        (None, [[np.nan, 0.0, 1.0]], None, "y holds NaN"),
        (None, "cat", None, "y is no array of numbers"),
        (None, [0], [1.0, 2.0], r"weight has shape \(2,\), expected \(1,\)"),
        (None, [0], [np.nan], "weight holds NaN"),
        (None, [0], "much", "weight is no array of numbers"),
    ],
)
def test_inputs_that_are_refused_change_nothing(x, y, weight, message):
    net = load(FP32)
    before = net.save()
    with np.errstate(over="ignore"), pytest.raises(InputError, match=message) as caught:
        net.train_step(np.zeros((1, *INPUT)) if x is None else x, y, weight)
    assert "\n" not in str(caught.value)
    assert net.save() == before


def test_a_batch_is_taken_whole():
    net = load(BATCH)
    x, y = samples(4)
    net.train_step(x, y, [1.0, 0.5, 0.0, -1.0])
    with pytest.raises(InputError, match="compiled for 4 a step"):
        net.train_step(x[:3], y[:3])
    with pytest.raises(InputError, match="multiples of 4"):
        net.infer(x[:3])
    with pytest.raises(InputError, match="y has 1 labels, expected 4"):
        net.train_step(x, 1)


def test_inference_of_many_samples_is_inference_of_each():
    net = load(MIXED)
    x, _ = samples(7)
    together = net.infer(x)
    assert together.shape == (7, CLASSES)
    np.testing.assert_array_equal(together, np.concatenate([net.infer(one) for one in x]))
    assert net.infer(x[:0]).shape == (0, CLASSES)
    module = tiny_build(**MIXED).module.eval()
    with torch.no_grad():
        np.testing.assert_allclose(together, module(x).numpy(), atol=2e-2)


def test_inference_does_not_disturb_training():
    one, other = load(MIXED), load(MIXED)
    x, y = samples(6)
    for at in range(6):
        other.infer(x)
        assert one.train_step(x[at], y[at]) == other.train_step(x[at], y[at])
    other.infer(x)
    assert one.save() == other.save()


def test_soft_labels_and_sample_weights_scale_the_loss():
    net = load(FP32)
    start = net.save()
    x, _ = samples(1)
    soft = np.array([[0.2, 0.3, 0.5]], dtype=np.float32)
    with torch.no_grad():
        logits = tiny_build(**FP32).module(x)
    assert net.accumulate(x, soft) == pytest.approx(
        float(F.cross_entropy(logits, torch.tensor(soft))), rel=1e-5
    )
    for weight in (0.0, 0.25, 3.0, -1.0):
        net.load(start)
        plain = net.train_step(x, soft)
        moved = tensors(net, Role.PARAMETER)
        net.load(start)
        still = tensors(net, Role.PARAMETER)
        net.set_learning_rate(abs(weight) * 0.01)  # weight w and rate r move as weight 1 and rate w r
        reference = net.train_step(x, soft) * weight
        scaled = tensors(net, Role.PARAMETER)
        net.load(start)
        net.set_learning_rate(0.01)
        assert net.train_step(x, soft, [weight]) == pytest.approx(reference, rel=1e-6) == weight * plain
        for name, value in tensors(net, Role.PARAMETER).items():
            wanted = scaled[name] - still[name] if weight >= 0 else still[name] - moved[name]
            np.testing.assert_allclose(value - still[name], wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rate", [float("nan"), -0.1, float("inf")])
def test_learning_rates_that_make_no_sense(rate):
    with pytest.raises(InputError, match="learning rate"):
        load(FP32).set_learning_rate(rate)


def test_the_learning_rate_scales_the_update():
    net = load({**FP32, "accumulate": False})
    start, before = net.save(), tensors(net, Role.PARAMETER)
    x, y = samples(1)
    moves = []
    for rate in (0.0, 0.01, 0.02):
        net.load(start)
        net.set_learning_rate(rate)
        net.train_step(x, y)
        moves.append({name: value - before[name] for name, value in tensors(net, Role.PARAMETER).items()})
    for name in before:
        assert not moves[0][name].any() and moves[1][name].any()
        np.testing.assert_allclose(moves[2][name], 2 * moves[1][name], rtol=1e-3, atol=1e-7)


# ------------------------------------------------------------------------------------------------ accumulation
def test_accumulated_gradients_are_pytorchs_mean():
    net = load(FP32)
    module = copy.deepcopy(tiny_build(**FP32).module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    x, y = samples(8)
    for count in (8, 1, 5):
        losses = [net.accumulate(x[at], y[at]) for at in range(count)]
        net.apply()
        optimizer.zero_grad()
        loss = F.cross_entropy(module(x[:count]), y[:count])
        loss.backward()
        optimizer.step()
        assert np.mean(losses) == pytest.approx(loss.item(), rel=1e-5)
        for name, tensor in module.named_parameters():
            np.testing.assert_allclose(net.tensor(name), tensor.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_apply_without_gradients_is_refused_and_changes_nothing():
    net = load(FP32)
    train(net, 2)
    before = net.save()
    for _ in range(2):
        with pytest.raises(InputError, match="apply with nothing accumulated"):
            net.apply()
    assert net.save() == before


def test_accumulation_needs_to_be_compiled_in():
    net = load(MIXED)
    x, y = samples(1)
    for call in (lambda: net.accumulate(x, y), net.apply):
        with pytest.raises(InputError, match="compiled with accumulate=True"):
            call()


# ------------------------------------------------------------------------------------------------------- state
@pytest.mark.parametrize(
    ("dtype", "bn"), [("mixed", "fold"), ("mixed", "frozen"), ("mixed", "train"), ("fp32", "frozen")]
)
def test_state_dict_goes_to_the_module_and_back(bn, dtype):
    build = tiny_build(dtype=dtype, bn=bn)
    net = build.load()
    for name, tensor in build.module.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], tensor, rtol=0, atol=0)
    train(net, 3)
    state = net.state_dict()
    module = copy.deepcopy(build.module)
    assert module.load_state_dict(state, strict=True) is not None
    assert {name: (t.shape, t.dtype) for name, t in state.items()} == {
        name: (t.shape, t.dtype) for name, t in module.state_dict().items()
    }
    if bn != "fold":
        tiny().load_state_dict(state, strict=True)  # the user's own module
        assert int(state["1.num_batches_tracked"]) == (3 if bn == "train" else 0)
    x, _ = samples(4)
    with torch.no_grad():
        np.testing.assert_allclose(net.infer(x), module.eval()(x), atol=3e-2 if dtype == "mixed" else 1e-5)
    other = build.load()
    other.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(other.infer(x), net.infer(x))
    again = other.state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_fp16_state_is_what_memory_holds():
    build = tiny_build(dtype="fp16", bn="frozen")
    for name, tensor in build.load().state_dict().items():
        wanted = build.module.state_dict()[name]
        if name.startswith("1.running") or not wanted.is_floating_point():
            assert torch.equal(tensor, wanted)
        else:
            assert torch.equal(tensor, wanted.half().float())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("4.bias"), r"does not fit: missing 4\.bias$"),
        (lambda state: state.update(more=torch.zeros(1)), "does not fit: unexpected more$"),
        (lambda state: state.clear(), r"missing 0\.weight, 1\.bias, 1\.running_mean and 4 more"),
        (
            lambda state: state.update({"4.bias": torch.zeros(4)}),
            r"'4\.bias' has shape \(4,\), expected \(3,\)",
        ),
        (lambda state: state.update({"4.bias": torch.full((3,), torch.nan)}), r"'4\.bias' holds NaN"),
        (lambda state: state.update({"0.weight": torch.zeros(4, 3, 3, 2)}), r"'0\.weight' has shape"),
        (lambda state: state.update({"0.weight": "none"}), r"0\.weight is no array of numbers"),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(change, message):
    net = load(MIXED)
    before = net.save()
    state = {name: tensor + 1 for name, tensor in net.state_dict().items()}
    change(state)
    with pytest.raises(InputError, match=message):
        net.load_state_dict(state)
    assert net.save() == before


def test_a_number_beyond_fp16_is_refused_where_it_is_stored():
    state = {name: tensor * 1.0 for name, tensor in tiny().state_dict().items()}
    state["0.weight"][0, 0, 0, 0] = 70000.0
    with pytest.raises(InputError, match=r"'0\.weight' holds 70000; the largest fp16 number is 65504"):
        load({"dtype": "fp16", "bn": "frozen"}).load_state_dict(state)


@pytest.mark.parametrize("options", [MIXED, ADAM, FP32, {**ADAM, "accumulate": True}, {"dtype": "fp16"}])
def test_saved_training_goes_on_bit_by_bit(options):
    build = tiny_build(**options)
    net = build.load()
    train(net, 5)
    net.set_learning_rate(0.02)
    x, y = samples(1, seed=9)
    if options.get("accumulate"):
        net.accumulate(x, y)  # a gradient that waits is part of the state
    state, outputs = net.save(), net.infer(x)
    other = build.load()
    train(other, 2, seed=5)
    other.load(state)
    other.set_learning_rate(0.02)  # no part of the state
    np.testing.assert_array_equal(other.infer(x), outputs)
    for one in (net, other):
        if options.get("accumulate"):
            one.apply()
    assert train(net, 6) == train(other, 6)
    assert net.save() == other.save()
    assert (net.loss_scale, net.skipped_steps) == (other.loss_scale, other.skipped_steps)
    assert equal(tensors(net), tensors(other))
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in net.state_dict().items())


def test_a_foreign_state_is_refused_and_nothing_changed():
    net, foreign = load(MIXED), load({**MIXED, "update": "4.weight"})
    before = net.save()
    wrong = bytearray(before)
    wrong[0] ^= 1
    for state, message in (
        (b"", "damaged, truncated"),
        (before[:-1], "damaged, truncated"),
        (before + b"\0", f"has {len(before) + 1} bytes, of which it says it has {len(before)}"),
        (bytes(wrong), "damaged, truncated"),
        (bytes(len(before)), "says it has 0"),
        (foreign.save(), "of other parameters"),
    ):
        with pytest.raises(InputError, match=message):
            net.load(state)
        assert net.save() == before


def test_two_nets_of_one_build_are_independent():
    build = tiny_build(**MIXED)
    one, other = build.load(), build.load()
    untouched = other.save()
    train(one, 3)
    assert other.save() == untouched and one.save() != untouched
    assert train(other, 3) == train(build.load(), 3)
    assert one.save() == other.save()


def test_set_tensor_checks_what_it_writes():
    net = load(MIXED)
    with pytest.raises(InputError, match=r"'4\.bias' has shape \(2,\)"):
        net.set_tensor("4.bias", np.zeros(2, dtype=np.float32))
    with pytest.raises(InputError, match="NaN"):
        net.set_tensor("4.bias", np.full(3, np.nan, dtype=np.float32))


# ------------------------------------------------------------------------------------------------ mixed precision
def working_copies_are_rounded_masters(net):
    for name, value in net.tensors().items():
        if value.role is Role.WORKING_COPY:
            master = net.tensor(name.removesuffix(".copy"))
            np.testing.assert_array_equal(net.tensor(name), master.astype(np.float16))


@pytest.mark.parametrize(
    "options", [MIXED, ADAM, {**ADAM, "accumulate": True}, {"bn": "frozen", "update": "bias"}]
)
def test_a_step_that_overflows_is_skipped_and_training_goes_on(options):
    net = load({**options, "loss_scale": 16384.0})
    x, y = samples(1)
    train(net, 2)
    assert net.skipped_steps == 0 and net.loss_scale == 16384.0
    kept = (Role.PARAMETER, Role.OPTIMIZER, Role.WORKING_COPY)
    before = tensors(net, *kept)
    net.train_step(x, y, [1000.0])
    assert equal(tensors(net, *kept), before)
    assert net.skipped_steps == 1 and net.loss_scale == 8192.0
    working_copies_are_rounded_masters(net)
    assert all(np.isfinite(value).all() for value in tensors(net).values())
    net.train_step(x, y)
    assert net.skipped_steps == 1 and not equal(tensors(net, Role.PARAMETER), before)
    working_copies_are_rounded_masters(net)
    losses = [net.train_step(x, y) for _ in range(30)]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_an_overflow_anywhere_in_an_accumulation_skips_all_of_it():
    net = load({**ADAM, "accumulate": True, "loss_scale": 16384.0})
    fresh = load({**ADAM, "accumulate": True, "loss_scale": 8192.0})
    x, y = samples(3)
    before = tensors(net, Role.PARAMETER, Role.OPTIMIZER)
    net.accumulate(x[0], y[0])
    net.accumulate(x[1], y[1], [1000.0])
    net.accumulate(x[2], y[2])
    net.apply()
    assert net.skipped_steps == 1 and equal(tensors(net, Role.PARAMETER, Role.OPTIMIZER), before)
    # Nothing of it is left: the next update is that of a network that has never seen it.
    for one in (net, fresh):
        one.accumulate(x[0], y[0])
        one.apply()
    assert equal(tensors(net), tensors(fresh))


@pytest.mark.parametrize("magnitude", [60000.0, 1e6])
def test_inputs_too_large_for_fp16_are_skipped_or_refused_and_do_not_poison(magnitude):
    net = load({**ADAM, "loss_scale": 1024.0})
    x, y = samples(1)
    train(net, 1)
    before = tensors(net)
    storable = magnitude <= np.finfo(np.float16).max
    for sign in (1.0, -1.0):
        with nullcontext() if storable else pytest.raises(InputError, match="beyond the type that stores it"):
            net.train_step(torch.sign(x) * sign * magnitude, y)
    skipped = 2 if storable else 0
    assert net.skipped_steps == skipped and equal(tensors(net), before)
    assert np.isfinite(net.train_step(x, y)) and net.skipped_steps == skipped


@pytest.mark.parametrize("dtype", ["fp16", "mixed"])
def test_weights_beyond_fp16_are_refused_at_compile_and_load(dtype):
    net = tiny_build(dtype=dtype).load()
    state, before = net.state_dict(), net.save()
    state["4.weight"][0, 0] = 65505.0
    with pytest.raises(InputError, match=r"'4.weight' holds 65505; the largest fp16 number is 65504"):
        net.load_state_dict(state)
    assert net.save() == before
    module = tiny()
    module.load_state_dict(module.state_dict() | {"4.weight": state["4.weight"]})
    with pytest.raises(InputError, match=r"'4.weight' holds 65505; the largest fp16 number is 65504"):
        odl.compile(module, torch.zeros(1, *INPUT), dtype=dtype)
    odl.compile(module, torch.zeros(1, *INPUT), dtype="fp32")


def test_running_statistics_survive_a_batch_that_overflows():
    net = load(MIXED)
    x, y = samples(1)
    net.train_step(torch.sign(x) * 60000.0, y)
    assert net.skipped_steps == 1
    assert all(np.isfinite(value).all() for value in tensors(net, Role.STATISTIC).values())


def test_the_loss_scale_grows_after_a_thousand_good_steps():
    net = load({**ADAM, "loss_scale": 1024.0})
    x, y = samples(1)
    net.set_learning_rate(0.0)
    for _ in range(999):
        net.train_step(x, y)
    assert net.loss_scale == 1024.0
    net.train_step(x, y)
    assert net.loss_scale == 2048.0
    for _ in range(500):
        net.train_step(x, y)
    net.train_step(x, y, [1e6])  # a skipped step starts the count anew
    assert (net.loss_scale, net.skipped_steps) == (1024.0, 1)
    for _ in range(999):
        net.train_step(x, y)
    assert net.loss_scale == 1024.0
    net.train_step(x, y)
    assert net.loss_scale == 2048.0


def test_the_loss_scale_stays_in_its_range():
    net = load({**ADAM, "loss_scale": 2.0})
    x, y = samples(1)
    for _ in range(3):
        net.train_step(x, y, [1e8])
    assert net.loss_scale == 1.0 and net.skipped_steps == 3


def test_constant_scales_do_not_move():
    for dtype, scale in (("fp32", 1.0), ("fp16", 128.0)):
        net = load({"dtype": dtype})
        train(net, 3)
        assert net.loss_scale == scale and net.skipped_steps == 0


# ----------------------------------------------------------------------------------------------- exact and fast
@pytest.mark.parametrize("options", [MIXED, {"dtype": "fp32", "bn": "fold"}])
def test_exact_and_fast_agree_within_the_types_precision(options):
    build = tiny_build(**options)
    exact, fast = build.load("exact"), build.load("fast")
    tolerance = CEILING[Precision(options["dtype"])]
    np.testing.assert_allclose(train(exact, 5), train(fast, 5), rtol=tolerance)
    for name, value in tensors(exact).items():
        wanted = value.astype(np.float64)
        error = np.linalg.norm(fast.tensor(name).astype(np.float64) - wanted)
        assert error <= tolerance * max(np.linalg.norm(wanted), 1e-3), name


@pytest.mark.parametrize("options", [MIXED, {**FP32, "accumulate": False}])
def test_two_cores_compute_the_bits_of_one(options, tmp_path):
    """The programs run on two threads with a real barrier in place of the host's runtime."""
    single, double = load(options), tiny_build(**options, cores=2)
    directory = written(double, tmp_path / "net")
    (directory / "runtime" / "odl_runtime.h").write_text(_TWO_THREADS)
    threaded = odl.Net(directory)
    assert "threads.h" in (directory / "runtime" / "odl_runtime.h").read_text()
    for _ in range(3):
        assert train(single, 4) == train(threaded, 4)
        assert equal(tensors(single), tensors(threaded))
    x, _ = samples(5)
    np.testing.assert_array_equal(single.infer(x), threaded.infer(x))


_TWO_THREADS = """
#ifndef ODL_RUNTIME_H
#define ODL_RUNTIME_H
#include <stdint.h>
#include <threads.h>
static mtx_t odl_lock;
static cnd_t odl_met;
static uint32_t odl_arrived, odl_meetings;
static void (*odl_program)(uint32_t core, uint32_t cores);
static inline void odl_barrier(void) {
    mtx_lock(&odl_lock);
    const uint32_t meeting = odl_meetings;
    if (++odl_arrived == 2) {
        odl_arrived = 0;
        odl_meetings++;
        cnd_broadcast(&odl_met);
    }
    while (meeting == odl_meetings) {
        cnd_wait(&odl_met, &odl_lock);
    }
    mtx_unlock(&odl_lock);
}
static inline int odl_second(void *unused) {
    (void)unused;
    odl_program(1, 2);
    return 0;
}
static inline void odl_parallel(void (*program)(uint32_t core, uint32_t cores)) {
    thrd_t second;
    mtx_init(&odl_lock, mtx_plain);
    cnd_init(&odl_met);
    odl_program = program;
    thrd_create(&second, odl_second, NULL);
    program(0, 2);
    thrd_join(second, NULL);
    mtx_destroy(&odl_lock);
    cnd_destroy(&odl_met);
}
#endif
"""


# -------------------------------------------------------------------------------------------------- mean square
def test_regression_takes_targets_like_its_output():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6))
    build = odl.compile(module, torch.zeros(2, 6), loss="mse", dtype="fp32", optimizer=odl.SGD(0.1))
    net = build.load()
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = float(F.mse_loss(module(x), x))
    assert net.train_step(x, x) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(InputError, match=r"y has shape \(2,\), expected \(2, 6\)$"):
        net.train_step(x, [0, 1])
    losses = [net.train_step(x, x) for _ in range(50)]
    assert losses[-1] < losses[0]


# ------------------------------------------------------------------------------------------- entry points by name
def test_an_entry_point_by_its_name_does_what_its_method_does():
    x, y = samples(1)
    by_name, by_method = load(MIXED), load(MIXED)
    assert by_name.call("train_step", x, y) == by_method.train_step(x, y)
    assert np.array_equal(by_name.call("infer", x), by_method.infer(x))
    assert by_name.save() == by_method.save()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("apply", {}, "needs a network compiled with accumulate=True"),
        ("infer", {}, "infer\\(\\) needs x"),
        ("infer", {"x": 0, "y": 1}, "infer\\(\\) takes no y"),
        ("steps", {}, "no entry point 'steps' to call; it has train_step, infer, refresh"),
        ("trian_step", {}, "no entry point 'trian_step'"),
    ],
)
def test_a_call_that_cannot_be_made_says_why(name, given, message):
    with pytest.raises(InputError, match=message):
        load(MIXED).call(name, **given)
