"""One function on many items: an item that raises, or that kills its process, is answered for and stops no other."""

import os
import signal
import sys

import pytest

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


def test_a_pool_needs_a_process():
    with pytest.raises(ValueError, match="n_processes is 0: expected an integer of at least 1"):
        list(in_processes(work, [1], 0))
