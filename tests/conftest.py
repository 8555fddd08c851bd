import modes
import numpy as np
import pytest
from cases import CASES, COMPILED
from mutants import mutant as mutant

from rtu_np import LinearRTU, NonlinearRTU


@pytest.fixture(params=[LinearRTU, NonlinearRTU], ids=["linear", "nonlinear"])
def kind(request):
    """A class of recurrent trace units."""
    return request.param


@pytest.fixture(params=["tanh", "relu"] if COMPILED else ["tanh", "relu", "identity"])
def activation(request):
    return request.param


@pytest.fixture(params=CASES)
def case(request):
    """Any cell, with its forward pass."""
    return CASES[request.param]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def pytest_collection_finish(session):
    """Start the other modes beside this one, where their tests were asked for."""
    asked = any(item.name.startswith("test_in_mode") for item in session.items)
    if asked and not session.config.option.collectonly and not modes.IN_ONE:
        session.config.modes = {mode: modes.start(mode) for mode in modes.MODES}


def pytest_unconfigure(config):
    for process in getattr(config, "modes", {}).values():
        process.kill()
