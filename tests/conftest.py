import os

import modes
import numpy as np
import pytest
from cases import CASES, COMPILED
from mutants import mutant as mutant
from planting import plant as plant
from workers import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler

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


def pytest_configure(config):
    if os.environ.get("RTU_NP_SECONDS"):
        from seconds import Seconds

        config.pluginmanager.register(Seconds())


def _is_mode(item):
    return item.name.startswith("test_in_mode")


def _comes_first(item):
    return _is_mode(item) or item.nodeid.startswith(modes.LONGEST)


def pytest_collection_modifyitems(config, items):
    """With several workers, what takes longest comes first."""
    if hasattr(config, "workerinput"):
        items.sort(key=_comes_first, reverse=True)


def pytest_collection_finish(session):
    """Without workers, start the other modes beside this one, where their tests were asked for."""
    if hasattr(session.config, "workerinput"):
        return
    asked = any(map(_is_mode, session.items))
    if asked and not session.config.option.collectonly and not modes.IN_ONE:
        session.config.modes = {mode: modes.start(mode) for mode in modes.MODES if modes.ALL or mode not in modes.LONG}


def pytest_unconfigure(config):
    for process in getattr(config, "modes", {}).values():
        process.kill()
