"""A campaign at the doors of TDLambda: random settings, streams, flags, stretches and copies (campaign_cases.py)."""

import copy
import math
import pickle
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from campaign_cases import BAD_NUMBERS, bad_numbers, door, floats, given_as, good_numbers, outcome, refuses, spoiled
from cases import COMPILED
from hypothesis import given
from hypothesis import strategies as st
from rule_cases import RULES
from td_cases import everything

from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    RTRL,
    SGD,
    TBPTT,
    Adam,
    BlockDiagonalRNN,
    Dense,
    GatedRTU,
    HiddenReadout,
    LinearReadout,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    ObGD,
    RMSProp,
    Stack,
    TDLambda,
    VanillaRNN,
    WithLambda,
    run_many,
)

# Uncompiled, NumPy warns of what a compiled kernel meets without a word.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
GAMMA = 0.9
SIZES = st.integers(1, 3)
CELLS = SIZES.map(LinearRTU)
OPTIMIZERS = st.just(Adam(0.003))
GRADIENTS, READOUTS = st.none(), st.none()
if not COMPILED:  # each would take seconds to compile
    single = st.one_of(
        CELLS,
        SIZES.map(NonlinearRTU),
        SIZES.map(lambda n: LRU(n, n_outputs=2, direct=True)),
        SIZES.map(lambda n: BlockDiagonalRNN(2 * n)),
        SIZES.map(GRU),
        SIZES.map(MinGRU),
        SIZES.map(ELSTM),
        SIZES.map(GatedRTU),
        SIZES.map(VanillaRNN),
    )
    CELLS = st.one_of(single, st.builds(lambda cell, n: Stack([Dense(n, "tanh"), cell]), single, SIZES))
    OPTIMIZERS = st.sampled_from([SGD(0.01), ObGD(0.1), Adam(0.003), RMSProp(0.003), None, *RULES.values()])
    GRADIENTS = st.sampled_from([None, RTRL(), RTRL(dense=True), TBPTT(1), TBPTT(3)])
    READOUTS = st.sampled_from([None, LinearReadout(), HiddenReadout(2)])
LEARNERS = st.fixed_dictionaries(
    {
        "cell": CELLS,
        "n_inputs": SIZES,
        "optimizer": OPTIMIZERS,
        "gradient": GRADIENTS,
        "readout": READOUTS,
        "dtype": st.sampled_from(["float64", "float32"]),
        "gamma": st.sampled_from([GAMMA, 0.0, 1.0]),
        "lambda_": st.sampled_from([0.8, 0.0, 1.0]),
        "seed": st.sampled_from([0, 2**70]),
    }
)


def again(agent: TDLambda, how: str) -> TDLambda:
    """The learner, by way of a copy."""
    if how == "saved":
        with tempfile.TemporaryDirectory() as folder:
            return TDLambda.load(agent.save(Path(folder) / "learner"))
    return {"same": lambda x: x, "pickled": lambda x: pickle.loads(pickle.dumps(x)), "copied": copy.deepcopy}[how](
        agent
    )


def opinionated(settings: dict) -> TDLambda:
    """A learner that does not begin with predictions of zero, which would hide discounts."""
    agent = TDLambda(**settings)
    agent.parameters[next(name for name in agent.parameters if name.endswith("readout.w"))][:] = 0.5
    return agent


AGAIN = st.sampled_from(["same", "saved", "pickled", "copied"])

# ------------------------------------------------------------------------------------------------------------ settings

UNREAL = [math.nan, math.inf, "x", None, True, 10**400, -(10**5000), 1j, [], np.zeros(1), np.array(0.5)]
BAD_SETTINGS = {
    "cell": [0, "", None, 3, LinearRTU, [], [LinearRTU(2)], SGD(0.1), RTRL(), "LinearRTU", LinearReadout()],
    "n_inputs": [0, -1, 2.0, True, "2", None, math.nan, np.array(2), -(10**5000), np.float64(2), []],
    "gamma": [-0.1, 1.1, *UNREAL],
    "lambda_": [-1e-300, np.nextafter(1, 2), *UNREAL],
    "optimizer": [
        0,
        "",
        [],
        False,
        1e-3,
        SGD,
        "Adam",
        RTRL(),
        LinearRTU(2),
        LinearReadout(),
        {},
        WithLambda(SGD(), 0.5),
    ],
    "gradient": [0, "", [], False, RTRL, "RTRL", SGD(0.1), LinearRTU(2), LinearReadout(), 10],
    "readout": [0, "", [], False, LinearReadout, 3, SGD(0.1), RTRL(), TBPTT(2), LinearRTU(2)],
    "seed": [-1, 1.5, "x", "", math.nan, 1j, {}, object(), -(10**5000)],
    "dtype": [
        None,
        "",
        "float16",
        "longdouble",
        int,
        "f8,f8",
        "f8,(",
        [],
        {},
        8,
        "complex128",
        object(),
        "x",
        b"g",
        0.5,
    ],
}
BAD_SETTING = st.one_of(*(st.tuples(st.just(name), st.sampled_from(bad)) for name, bad in BAD_SETTINGS.items()))
# The same numbers in other types.
SAME = {
    "n_inputs": st.sampled_from([int, np.int8, np.uint8, np.int64]),
    "gamma": st.sampled_from([float, np.float64, np.longdouble]),
    "lambda_": st.sampled_from([float, np.float64, np.longdouble]),
    "dtype": st.sampled_from(
        [str, np.dtype, lambda name: np.dtype(name).newbyteorder(), lambda name: np.dtype(name).type]
    ),
}


@door(60)
@given(LEARNERS, st.fixed_dictionaries(SAME), st.lists(BAD_SETTING, max_size=1), AGAIN)
def test_settings(learner, types, bad, how):
    given_settings = {**learner, **{name: kind(learner[name]) for name, kind in types.items()}}
    if bad:
        refuses(lambda: TDLambda(**{**given_settings, **dict(bad)}), f"^{bad[0][0]} (is|has)", bytes)
        return
    agent, plain = TDLambda(**given_settings), TDLambda(**learner)
    assert repr(agent) == repr(plain)
    x = np.ones(learner["n_inputs"])
    for _ in range(3):
        agent = again(agent, how)
        assert agent.step(x, 1.0) == plain.step(x, 1.0)
    assert everything(agent) == everything(plain)


@door(20)
@given(st.sampled_from([10**9, 10**12, 10**18, 10**30, 10**5000]), st.sampled_from(["n_inputs", "n_hidden"]), st.data())
def test_sizes_beyond_memory(n, name, data):
    gated = [GRU, MinGRU, ELSTM, GatedRTU]
    kind = data.draw(st.sampled_from([LinearRTU, NonlinearRTU, LRU, *gated, VanillaRNN, BlockDiagonalRNN, Dense]))
    cell, n_inputs = (kind(2), n) if name == "n_inputs" else (kind(n), 2)
    made = outcome(lambda: TDLambda(cell, n_inputs=n_inputs if n > 10**9 else 10**11), MemoryError)
    assert re.search("needs (more than )?[0-9]+ (bytes|numbers).*expected", str(made)) or isinstance(made, TDLambda)


# ------------------------------------------------------------------------------------------------- steps and stretches


def stream(draw, d: int, dtype: str):
    """(observations, cumulants, discounts, terminated, truncated) of up to 12 steps."""
    n = draw(st.integers(1, 12))
    ends = st.lists(st.sampled_from([False, False, False, True]), min_size=n, max_size=n)
    discounts = draw(st.lists(st.sampled_from([GAMMA, 0.0, 1.0, 0.5]), min_size=n, max_size=n))
    return [floats(draw, n, d), floats(draw, n), np.array(discounts), *(np.array(draw(ends)) for _ in range(2))]


def one_flag(draw, flag: bool):
    kinds = [bool, np.bool_, int, float, np.int8, np.array] + [lambda _: None] * (not flag)
    return draw(st.sampled_from(kinds))(flag)


def bad_call(draw, agent: TDLambda, d: int, dtype: str):
    """A call of `step`, `run` or `predict` that is to be refused, and what its message names."""
    x, c, dtype = np.zeros(d), 0.0, agent.dtype.name
    n = draw(st.integers(1, 4))
    rows = floats(draw, n, d)
    kind = draw(
        st.sampled_from(["x", "c", "discount", "flag", "predict", "observations", "cumulants", "discounts", "flags"])
    )
    if kind == "x":
        bad = spoiled(draw, x, dtype)
        return (lambda: agent.step(bad, c)), "x"
    if kind == "c":
        bad = draw(bad_numbers(dtype))
        return (lambda: agent.step(x, bad)), "c"
    if kind == "discount":
        bad = draw(st.one_of(BAD_NUMBERS.filter(lambda x: x is not None), st.sampled_from([-0.5, 1.5, np.float32(2)])))
        return (lambda: agent.step(x, c, bad)), "discount"
    if kind == "flag":
        bad, name = (
            draw(st.sampled_from(["x", math.nan, 1j, {1}, object()])),
            draw(st.sampled_from(["terminated", "truncated"])),
        )
        return (lambda: agent.step(x, c, **{name: bad})), name
    if kind == "predict":
        bad = spoiled(draw, draw(st.sampled_from([x, rows])), dtype)
        return (lambda: agent.predict(bad)), "x"
    good = {"observations": rows, "cumulants": np.zeros(n)}
    if kind in ("discounts", "flags"):
        name = kind if kind == "discounts" else draw(st.sampled_from(["terminated", "truncated"]))
        bad = spoiled(draw, np.zeros(n), "float64")  # of a flag, 1e39 is a number like others
        if bad is None:
            bad = np.full(n + 1, 1.0)
        return (lambda: agent.run(**good, **{name: bad}, progress=False)), name
    bad = spoiled(draw, good[kind], dtype)
    # with an extra row, observations are as good as before, and cumulants are too few
    return (lambda: agent.run(**{**good, kind: bad}, progress=False)), "observations|cumulants"


@door(60)
@given(LEARNERS, st.data())
def test_any_way_through_a_stream(settings, data):
    """Steps, stretches and copies give the bits of one run, with refused calls and predictions in between."""
    draw, d, dtype = data.draw, settings["n_inputs"], settings["dtype"]
    whole = stream(draw, d, dtype)
    agent, reference = TDLambda(**settings), TDLambda(**settings)
    expected, n = reference.run(*whole, progress=False), len(whole[0])
    t, made = 0, []
    while t < n:
        if draw(st.booleans()):
            call, names = bad_call(draw, agent, d, dtype)
            refuses(call, names, lambda agent=agent: everything(agent))
        agent = again(agent, draw(AGAIN))
        if draw(st.booleans()):
            x, c, discount, terminated, truncated = (part[t] for part in whole)
            discount = None if discount == settings["gamma"] else discount
            flags = one_flag(draw, bool(terminated)), one_flag(draw, bool(truncated))
            made.append(agent.step(given_as(draw, x), c if draw(st.booleans()) else np.array(c), discount, *flags))
            t += 1
        else:
            stop = draw(st.integers(t + 1, n))
            made += agent.run(*(given_as(draw, part[t:stop]) for part in whole), progress=False).tolist()
            t = stop
    assert np.array(made, dtype).tobytes() == expected.tobytes()
    assert everything(agent) == everything(reference)
    assert agent.steps == n


@door(40)
@given(LEARNERS, st.data())
def test_numbers_of_any_type(settings, data):
    """`step` takes a number of any type as `run` takes its float."""
    agent, reference = opinionated(settings), opinionated(settings)
    for _ in range(data.draw(st.integers(3, 6))):
        x = [data.draw(good_numbers()) for _ in range(settings["n_inputs"])]
        c, discount = data.draw(good_numbers()), data.draw(good_numbers(0.0, 1.0))
        one = agent.step(x, c, discount)
        plain = [float(np.asarray(number)[()]) for number in (*x, c, discount)]
        (other,) = reference.run([plain[:-2]], [plain[-2]], [plain[-1]], progress=False)
        assert one == other
    assert everything(agent) == everything(reference)


@door(30)
@given(LEARNERS, st.data())
def test_predictions(settings, data):
    """`predict` by steps, in stretches and through copies; and it is what `run` predicts while nothing is learned."""
    draw, d = data.draw, settings["n_inputs"]
    agent = opinionated({**settings, "optimizer": SGD(1e-300)})
    rows = floats(draw, draw(st.integers(1, 8)), d)
    before = agent.parameters
    learned = again(agent, "copied").run(rows, np.zeros(len(rows)), progress=False)
    expected = again(agent, "copied").predict(rows)
    np.testing.assert_allclose(expected, learned, rtol=1e-4, atol=1e-6)
    agent.predict(rows)
    t, made = 0, []
    while t < len(rows):
        agent = again(agent, draw(AGAIN))
        if draw(st.booleans()):
            made.append(agent.predict(given_as(draw, rows[t]), reset=t == 0))
            t += 1
        else:
            stop = draw(st.integers(t + 1, len(rows)))
            made += agent.predict(given_as(draw, rows[t:stop]), reset=t == 0).tolist()
            t = stop
    assert np.array(made, settings["dtype"]).tobytes() == expected.tobytes()
    assert agent.steps == 0
    assert all(np.array_equal(view, before[name]) for name, view in agent.parameters.items())


@door(30)
@given(st.lists(LEARNERS, min_size=1, max_size=3), st.booleans(), st.data())
def test_many_learners(several, bad, data):
    draw, d = data.draw, several[0]["n_inputs"]
    several = [{**settings, "n_inputs": d} for settings in several]
    agents, reference = ([TDLambda(**settings) for settings in several] for _ in range(2))
    k = len(agents)
    lengths = draw(st.sampled_from(["one for all", "a list", "an array"]))
    streams = [stream(draw, d, "float64") for _ in range(1 if lengths == "one for all" else k)] * (
        k if lengths == "one for all" else 1
    )
    n = min(len(each[0]) for each in streams)
    streams = [[part[:n] for part in each] for each in streams] if lengths == "an array" else streams
    names = ("observations", "cumulants", "discounts", "terminated", "truncated")
    arguments = {name: [each[i] for each in streams] for i, name in enumerate(names)}
    if lengths != "a list":
        arguments = {name: np.array(parts) for name, parts in arguments.items()}
    if lengths == "one for all":
        arguments = {name: given_as(draw, parts[0]) for name, parts in arguments.items()}
    threads = {"n_threads": draw(st.sampled_from([None, 1, 2, np.int8(5)])), "progress": False}

    def state() -> bytes:
        return b"".join(map(everything, agents))

    if bad:
        name = draw(st.sampled_from([*names, "learners", "n_threads", "twice"]))
        m = len(streams[0][0])
        change = {"n_threads": draw(st.sampled_from([0, -1, 1.5, "2", True]))}
        learners = agents
        if name in names:
            fault = spoiled(draw, np.zeros((m, d) if name == "observations" else m), "float64")
            change = {name: np.zeros((3, 0)) if fault is None else fault}
        elif name != "n_threads":
            learners = (
                [*agents, draw(st.sampled_from([None, "x", LinearRTU(2), TDLambda]))]
                if name == "learners"
                else agents * 2
            )
            learners = draw(st.sampled_from([[], learners])) if name == "learners" else learners
        refuses(
            lambda: run_many(learners, **{**arguments, **threads, **change}), "learners|n_threads|observ|" + name, state
        )
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = run_many(agents, **arguments, **threads)
    for v, agent, other, each in zip(made, agents, reference, streams, strict=True):
        assert v.tobytes() == other.run(*each, progress=False).tobytes()
        assert everything(agent) == everything(other)
