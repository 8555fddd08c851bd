"""The instrument: what it measures is there, adds up, and is written where it says."""

import csv
import json
import math
import time

import numpy as np
import pytest
from cases import COMPILED

from rtu_np import GRU, RTRL, SGD, TBPTT, Adam, LinearRTU, Stack, TDLambda, bytes_per_step, flops, timing
from rtu_np.__main__ import main
from rtu_np.timing import machine
from rtu_np.timing.measure import _allocations, _compile_seconds, _latencies
from rtu_np.validation import brief

pytestmark = pytest.mark.skipif(not COMPILED, reason="plain Python is not what is timed")
QUICK = {"repeats": 3, "calls": 300, "compiling": False}


@pytest.fixture(scope="module")
def measured():
    return timing.measure(LinearRTU(10), 2, dtype="float32", **QUICK)


def test_numbers_that_must_agree(measured):
    t = measured
    assert (t.flops, t.bytes) == (flops(LinearRTU(10), 2), bytes_per_step(LinearRTU(10), 2, dtype="float32"))
    assert t.gflops == t.flops / t.ns_per_step
    assert t.gbytes == t.bytes / t.ns_per_step
    assert 0 < t.ns_low <= t.ns_per_step <= t.ns_high
    assert t.ns_per_step < t.latency_p50 <= t.latency_p99 <= t.latency_p999 <= t.latency_max
    assert t.clock_ns < t.latency_p50
    assert sum(t.histogram) == t.calls == 300
    assert len(t.histogram_edges) == len(t.histogram) + 1
    assert t.histogram_edges[0] <= t.latency_p50 <= t.latency_max <= t.histogram_edges[-1]
    assert t.bytes_held == TDLambda(LinearRTU(10), 2, dtype="float32", optimizer=SGD(1e-3)).bytes_held


def test_bytes_held_grow_with_the_learner():
    small, large = (TDLambda(LinearRTU(n), 8, optimizer=SGD(1e-3)).bytes_held for n in (32, 64))
    adam = TDLambda(LinearRTU(64), 8, optimizer=Adam(1e-3)).bytes_held
    weights = 8 * 64 * 8  # W1 of the larger, in bytes
    assert large - small >= 6 * weights / 2  # W1, W2, their traces, two sensitivities
    assert adam - large >= 4 * weights  # two moments of W1 and W2


def test_a_step_leaves_no_memory_behind(measured):
    assert measured.allocations_per_step == 0


def test_planted_a_step_that_keeps_something_is_found():
    learner, kept = TDLambda(LinearRTU(4), 2), []
    step = learner.step
    learner.step = lambda x, c: kept.append([step(x, c)])
    assert _allocations(learner) >= 1


def test_planted_a_slow_step_is_seen_in_the_latencies():
    learner = TDLambda(LinearRTU(4), 2)
    step, count = learner.step, iter(range(10**6))
    learner.step = lambda x, c: (time.sleep(2e-3 if next(count) % 50 == 49 else 0), step(x, c))[1]
    times, _ = _latencies(learner, 500)
    p50, p99 = np.percentile(times, (50, 99))
    assert p99 > 2e6 > p50


def test_compiling_again_reads_what_was_compiled():
    settings = {"cell": LinearRTU(3), "n_inputs": 2, "gradient": RTRL(), "dtype": "float64", "optimizer": SGD(1e-3)}
    cold, warm = _compile_seconds(settings)
    assert 0 < 3 * warm < cold


def test_a_cell_typed_at_a_prompt_has_no_compile_time():
    class Typed(LinearRTU):
        __module__ = "__main__"

    assert all(map(math.isnan, _compile_seconds({"cell": Typed(3)})))


def test_peaks_of_the_machine():
    found = machine.Machine.measure()
    assert found.gflops["float32"] > found.gflops["float64"] > 0.1
    assert found.gbytes["256 kB"] > 0.8 * found.gbytes["256 MB"] > 0.1
    assert found.processor
    assert found.processor in str(found)


def test_brief_names_what_is_not_the_default():
    assert brief(LinearRTU(8)) == "LinearRTU(8)"
    assert brief(LinearRTU(8, "relu")) == "LinearRTU(8, activation='relu')"
    assert brief(TBPTT(4)) == "TBPTT(4)"
    assert brief(Stack([LinearRTU(2), GRU(2)])) == "Stack([LinearRTU(2), GRU(2)])"


def test_the_command_prints_and_writes_what_it_says(tmp_path, capsys):
    words = "timing --n-hidden 4 6 --n-inputs 2 3 --cell linear-rtu --tbptt 2 --dtype float32 --optimizer adam"
    words += f" --repeats 2 --calls 200 --no-compiling --output {tmp_path / 'out'}"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    for text in ("us per step, median", "p99.9", "GFLOP/s", "allocations per step", "TBPTT(2)", "Adam"):
        assert text in printed
    page = json.loads((tmp_path / "out" / "timing.json").read_text())
    assert page["command"].startswith("python -m rtu_np timing --n-hidden 4 6")
    assert [t["cell"] for t in page["timings"]] == ["LinearRTU(4)"] * 2 + ["LinearRTU(6)"] * 2
    with open(tmp_path / "out" / "timing.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ns_per_step"]) for row in rows] == [t["ns_per_step"] for t in page["timings"]]
    assert (tmp_path / "out" / "timing.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    for words, message in {
        "--n-hidden 4 6 --n-inputs 2": "--n-hidden has 2 numbers and --n-inputs 1",
        "--n-hidden 0 --n-inputs 2": "n_hidden is 0",
        "--repeats 0": "repeats is 0",
        "--tbptt 0": "steps is 0",
        "--dense --exact": "--dense and --exact exclude each other",
        "--gradient rflo": "RFLO",
        "--leak 0.5 --cell vanilla-rnn gru": "--leak is 0.5 for gru",
        f"--output {tmp_path / 'file' / 'below'}": "file is a file",
    }.items():
        assert main(["timing", "--no-compiling", *words.split()]) == 2
        printed, error = capsys.readouterr()
        assert not printed, "it has measured before it refused"
        assert error.count("\n") == 1
        assert message in error
