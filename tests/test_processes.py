"""One function on many items: an item that raises, or that kills its process, is answered for and stops no other."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky import process_executor

from rtu_np.processes import ProcessDiedError, in_processes


def work(item: int) -> int:
    """Twice the item; 3 cannot be doubled, and 5 kills its process."""
    if item == 3:
        raise ValueError("this item was asked to fail")
    if item == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


@pytest.mark.parametrize("n_processes", [1, 2])
def test_every_item_is_answered_for(n_processes):
    items = [4, 3, 0, 4]  # one of them twice
    answers = sorted(in_processes(work, items, n_processes), key=lambda pair: pair[0])
    assert [(item, answer) for item, answer in answers if item != 3] == [(0, 0), (4, 8), (4, 8)]
    (error,) = [answer for item, answer in answers if item == 3]
    assert isinstance(error, ValueError)
    assert str(error) == "this item was asked to fail"


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal of Unix")
@pytest.mark.parametrize("known", [True, False])
def test_only_the_item_at_fault_is_blamed_for_a_process_that_died(known):
    """Whether the caller can tell which items had begun, or says of none that it had."""
    begun = {} if known else {"has_begun": lambda item: False}
    answers = dict(in_processes(work, [0, 5, 1, 2], 2, **begun))
    died = answers.pop(5)
    assert answers == {0: 0, 1: 2, 2: 4}
    assert isinstance(died, ProcessDiedError)
    assert str(died) == "the process that ran it died"


kept = []


def _grows(item: int) -> int:
    process_executor._MAX_MEMORY_LEAK_SIZE, process_executor._MEMORY_LEAK_CHECK_DELAY = 10**6, 0.0
    kept.append(np.ones(10**6))
    return item


def test_a_process_that_grows_is_replaced_in_silence():
    pytest.importorskip("psutil")  # without it, loky does not look
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(in_processes(_grows, range(12), 2)) == [(k, k) for k in range(12)]


def test_a_pool_needs_a_process():
    with pytest.raises(ValueError, match="n_processes is 0: expected an integer of at least 1"):
        list(in_processes(work, [1], 0))


def _blocks_ctrl_c(_item):
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of Unix")
@pytest.mark.parametrize("hear", [True, False])
def test_ctrl_c_is_blocked_from_a_process_s_start(hear):
    """In a process of its own: what the first lock of a process starts must not end the blocking."""
    code = f"""
import subprocess
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_processes import _blocks_ctrl_c
from rtu_np.processes import in_processes
print([blocks for _, blocks in in_processes(_blocks_ctrl_c, range(4), 2, hear_ctrl_c={hear})])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([not hear] * 4)
