"""Many learners on threads: the same bits as one by one, on one stream or on one each."""

import numpy as np
import pytest

from rtu_np import SGD, Adam, LinearRTU, NonlinearRTU, TDLambda, run_many

T, D = 3000, 3


def learners():
    settings = [
        {"seed": 0},
        {"seed": 1},
        {"seed": 0, "lambda_": 0.5},
        {"seed": 2, "optimizer": SGD(1e-3), "dtype": "float32"},
    ]
    return [TDLambda(LinearRTU(4), D, **each) for each in settings] + [TDLambda(NonlinearRTU(3), D)]


@pytest.fixture
def stream(rng):
    return rng.standard_normal((T, D)), rng.standard_normal(T)


@pytest.mark.parametrize("n_threads", [1, 2, 16])
def test_the_same_bits_as_one_by_one(stream, n_threads):
    together, apart = learners(), learners()
    predictions = run_many(together, *stream, discounts=np.full(T, 0.7), n_threads=n_threads, progress=False)
    for got, learner, other in zip(predictions, together, apart, strict=True):
        assert np.array_equal(got, other.run(*stream, discounts=np.full(T, 0.7), progress=False))
        assert got.any()
        assert learner._flat.tobytes() == other._flat.tobytes()
    assert len({got.tobytes() for got in predictions}) == len(predictions)


def test_a_stream_for_each(rng):
    together, apart = learners(), learners()
    lengths = [100, 200, 50, 70, 10]
    xs = [rng.standard_normal((n, D)) for n in lengths]
    cs = [rng.standard_normal(n) for n in lengths]
    ends = [rng.random(n) < 0.1 for n in lengths]
    predictions = run_many(together, xs, cs, truncated=ends, progress=False)
    for got, learner, x, c, end in zip(predictions, apart, xs, cs, ends, strict=True):
        assert np.array_equal(got, learner.run(x, c, truncated=end, progress=False))


def test_one_stream_with_cumulants_for_each(stream):
    together, apart = learners(), learners()
    cumulants = np.stack([k * stream[1] for k in range(5)])
    for k, got in enumerate(run_many(together, stream[0], cumulants, progress=False)):
        assert np.array_equal(got, apart[k].run(stream[0], cumulants[k], progress=False))


def test_a_learner_that_diverges_is_named_and_the_others_finish(stream):
    group = [TDLambda(LinearRTU(4), D), TDLambda(LinearRTU(4), D, optimizer=SGD(1e30)), TDLambda(LinearRTU(4), D)]
    with pytest.raises(FloatingPointError, match=r"^learners\[1\]: learning diverged"):
        run_many(group, *stream, progress=False)
    assert [learner.steps for learner in group[::2]] == [T, T]


def test_bad_input_is_refused_before_anything_is_learned(stream):
    group = learners()
    one = group[0]
    x, c = stream
    for match, arguments in {
        "learners holds 2 learners, 1 different ones: expected one or more, all different": ([one, one], x, c),
        "learners holds 0 learners, 0 different ones": ([], x, c),
        "expected a TDLambda": ([LinearRTU(4)], x, c),
        "observations has length 2": (group, [x, x], c),
        r"^learners\[0\]: cumulants has shape": (group, x, c[1:]),
        r"^learners\[4\]: observations\[0, 0\] is nan": (group, [x, x, x, x, x * np.nan], c),
    }.items():
        with pytest.raises((ValueError, TypeError), match=match):
            run_many(*arguments, progress=False)
    with pytest.raises(ValueError, match="n_threads is 0"):
        run_many(group, x, c, n_threads=0)
    assert [learner.steps for learner in group] == [0] * 5
    assert isinstance(one.optimizer, Adam)
