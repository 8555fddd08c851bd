"""How tests are given to several workers (`-n auto`): a file at a time, so that its fixtures and kernels are made once.

Groups of pytest-xdist 3.8 (`--dist loadgroup`) are lost with pytest 9.2, without a word: tests of one file go to all
workers. So this is our own, and the same with any version.
"""

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            return nodeid if test.startswith("test_in_mode") else file  # each of the other modes is long

    config.option.loadscopereorder = False  # files come in the order that conftest.py gives them
    return ByFile(config, log)
