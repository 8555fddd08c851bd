"""Recurrences in PyTorch, which is run by hand."""

import numpy as np
import pytest
from cases import COMPILED

from rtu_np import check_recurrence, rtrl

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not COMPILED, reason="Numba has no part in it")


def step(params, h, x):
    u = torch.sigmoid(x @ params["Wu"] + h @ params["Uu"])
    h = (1 - u) * h + u * torch.tanh(x @ params["Wg"])
    return h, h


def gradient(params, h, xs, dy):
    params = {name: tensor.requires_grad_() for name, tensor in params.items()}
    for x in xs:
        h, y = step(params, h, x)
    return dict(zip(params, torch.autograd.grad(y @ dy, params.values(), materialize_grads=True), strict=True))


def stream(dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = {"Wu": (2, 3), "Wg": (2, 3), "Uu": (3, 3)}
    params = {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}
    return params, torch.zeros(3, dtype=dtype), torch.randn((6, 2), generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_in_pytorch(dtype):
    report = check_recurrence(step, *stream(dtype), gradient)
    assert report.passed, str(report)
    assert report.tolerance == (1e-11 if dtype == torch.float64 else 1e-5)
    assert max(row.complex_step for row in report.parameters) < (1e-11 if dtype == torch.float64 else 1e-5)
    exact, found = rtrl(step, *stream(dtype), dy=torch.ones(3)), gradient(*stream(dtype), torch.ones(3, dtype=dtype))
    for name, array in exact.items():
        assert array.dtype == np.float64
        assert np.abs(array - found[name].numpy()).max() < (1e-13 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_grad_that_is_added_up_is_found(dtype):
    params, h, xs = stream(dtype)

    def added(_, h, xs, dy):
        for tensor in params.values():
            tensor.requires_grad_()
        for x in xs:
            h, y = step(params, h, x)
        (y @ dy).backward()
        return {name: tensor.grad for name, tensor in params.items()}

    report = check_recurrence(step, params, h, xs, added)
    assert not report.passed
    assert "is it added to what an earlier call has left, in PyTorch to .grad?" in report.hints[0]
