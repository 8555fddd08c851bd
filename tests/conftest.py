import numpy as np
import pytest

from rtu_np import LinearRTU, NonlinearRTU


@pytest.fixture(params=[LinearRTU, NonlinearRTU], ids=["linear", "nonlinear"])
def kind(request):
    """A class of cells."""
    return request.param


@pytest.fixture(params=["tanh", "relu", "identity"])
def activation(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(7)
