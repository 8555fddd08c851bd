"""Step-size rules in prediction: against the papers' equations on cells known by their forward pass alone.

Free runs are chaotic, so the oracle starts each step from the learner's own parameters.
"""

from functools import partial

import numpy as np
import oracles
import pytest
from cases import KINDS, in_plain_python
from mutants import rebuilt
from rule_cases import RULES, of_blocks
from rule_oracles import Network
from tolerances import FLOAT32

import rtu_np
from rtu_np import TBPTT, Adam, Blocks, HiddenReadout, Identity, SwiftTD, TDLambda, WithLambda
from rtu_np.learning import optimizers
from rtu_np.numerics.buffers import size

D, GAMMA, LAMBDA = 2, 0.9, 0.8
PREDICTION = {**RULES, **of_blocks("readout")}
LINEAR = KINDS["linear RTU"]


def make(case, rule, package=rtu_np, **settings) -> TDLambda:
    own = {"gamma": GAMMA, "lambda_": LAMBDA, "seed": 1, **settings}
    own = {name: rebuilt(package, each) for name, each in own.items()}
    learner = package.TDLambda(rebuilt(package, case.cell), D, optimizer=rebuilt(package, rule), **own)
    rng = np.random.default_rng(3)
    for name, view in learner.parameters.items():  # what starts at zero would hide a gradient
        if name.startswith("readout"):
            view[:] = 0.5 * rng.standard_normal(view.shape)
    return learner


def stream(steps: int) -> oracles.Stream:
    """With discounts of 0, ends of either kind, an episode of one step, and a large error now and then."""
    s = oracles.stream(steps, D, seed=2, ends=False)
    s.discounts[9::22] = 0
    s.terminated[[k for k in range(13, steps) if k % 26 in (13, 14)]] = True  # the second ends an episode of one step
    s.truncated[17::18] = True
    s.truncated[s.terminated] = False
    s.cumulants[20::25] *= 20
    return s


def copied(learner) -> dict[str, np.ndarray]:
    return {name: view.astype(np.float64) for name, view in learner.parameters.items()}


def check(learner, case, rule, s: oracles.Stream, window=None, hidden=False) -> Network:
    """Parameters after each step, from the learner's own before it."""
    kind = oracles.TDOracle if window is None else oracles.TruncatedOracle
    net = kind(case.in_blocks, copied(learner), case.n_state, LAMBDA, None)
    net.steps = window
    net.readout = partial(oracles.hidden_readout, "tanh") if hidden else net.readout
    rules, latest = Network(rule, GAMMA, LAMBDA), None
    precise = learner.dtype == np.float64
    rounding, tolerance = (np.finfo(learner.dtype).eps, LEARNING_STEP if precise else FLOAT32)
    net.clear()
    for t, row in enumerate(zip(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True)):
        x, c, discount, dead, cut = row
        before = net.params
        v_tm1 = None if latest is None else net.readout(before, net.before)
        v_t, gradient = net.gradient(x)
        net.params = dict(before)
        if latest is not None:
            rules.step(net.params, latest[0], c + discount * (0.0 if dead else v_t) - v_tm1, latest[1])
        learner.step(*row)
        for name, view in learner.parameters.items():
            change = np.abs(net.params[name] - before[name]).max()
            allowed = tolerance * change + 4 * rounding * np.abs(before[name]).max()
            off = np.abs(view - net.params[name]).max()
            assert off <= allowed, f"{name} at step {t} is off by {off:.1e} after a change of {change:.1e}"
        net.params, latest = copied(learner), (gradient, discount)
        if dead or cut:
            net.clear()
            rules.cut()
            latest = None
    return rules


LEARNING_STEP = 1e-11  # of the largest change of an array in a step


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PREDICTION)
def test_a_step_equals_the_oracle(name, dtype):
    learner = make(LINEAR, PREDICTION[name], dtype=dtype)
    rules = check(learner, LINEAR, PREDICTION[name], stream(70))
    for rule in rules.rules.values():
        assert rule.seen in (set(), {"free", "bounded"}), f"{type(rule).__name__} was only {rule.seen}"


SETTINGS = {
    "nonlinear RTU": ("nonlinear RTU", {}, {}),
    "GRU, T-BPTT": ("GRU", {"gradient": TBPTT(3)}, {"window": 3}),
    "stack": ("stack", {}, {}),
    "hidden readout": ("linear RTU", {"readout": HiddenReadout(3)}, {"hidden": True}),
}


@in_plain_python
@pytest.mark.parametrize("name", PREDICTION)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_step_of_other_networks_equals_the_oracle(setting, name):
    (kind, own, how), rule = SETTINGS[setting], PREDICTION[name]
    if isinstance(rule, Blocks):
        if name == "SwiftTD" and "hidden" in how:
            return
        if kind == "stack":
            if name == "shares":
                rule = Blocks.of_shares(rtu_np.ObGD(0.05), cell=0.5, hidden=0.25, readout=0.25)
            else:
                rule = Blocks(**rule.rules(), hidden=WithLambda(Adam(0.002, beta1=0.5, beta2=0.9), 0.3))
    check(make(KINDS[kind], rule, **own), KINDS[kind], rule, stream(30), **how)


# ------------------------------------------------------------------------------------------------------ planted bugs

BUGS = {
    "AdaptiveObGD": [
        ("adaptive", "s[_CORRECTION] = beta * s[_CORRECTION] + (one - beta)", "s[_CORRECTION] = one"),
        ("adaptive", "length += abs(direction)", "length += abs(traces[k])"),
    ],
    "Adaptive": [
        ("adaptive", "max(min(delta, one), -one)", "delta"),
        (
            "adaptive",
            "fade * moments.square[k] + (one - fade) * g * g",
            "fade * moments.square[k] + (one - fade) * z * z",
        ),
    ],
    "Intentional": [
        ("intentional", "s[_ERROR] = one", "s[_ERROR] = 0"),
        ("intentional", "change += g * g * per_scale", "change += g * z * per_scale"),
    ],
    "Intentional, z^2": [
        ("intentional", "seen = z if of_traces else g", "seen = g"),
        ("intentional", "s[_COUNT] = fade * s[_COUNT] + one", "s[_COUNT] = s[_COUNT] + one"),
    ],
    "Intentional, normalized": [
        ("intentional", "(one - beta) * abs(clipped)", "(one - beta) * abs(delta)"),
        ("intentional", "if spec.normalize != 0", "if spec.normalize == 0"),
    ],
    "TIDBD": [
        ("autostep", "one - bound * reach * gradient[k]", "one - reach * gradient[k]"),
        ("autostep", "min(along * g * moments", "min(along * z * moments"),
    ],
    "Autostep": [
        ("autostep", "moments.step_sizes[k] = max(moments.step_sizes[k] * factor, least)", "pass"),
        ("autostep", "a * reach * per_tau", "reach * per_tau"),
    ],
    "mixed": [
        ("network", "stored.latest[DISCOUNT] = discount", "stored.latest[DISCOUNT] = 0.9"),
        (
            "optimizers",
            "decay_and_add((traces,), (gradient,), decay)",
            "decay_and_add((traces,), (gradient,), decay * decay)",
        ),
    ],
    "with lambdas": [
        ("network", "training.gamma * lambda_", "training.gamma * training.lambda_"),
        ("per_block", "rule.lambda_ if isinstance(rule, WithLambda) else lambda_", "lambda_"),
    ],
    "shares": [
        ("parts", " * z.dtype.type(part.lambda_)", ""),
        (
            "network",
            "return stored.gradient, network.dy.dtype.type(0)",
            "return stored.gradient, network.dy.dtype.type(1)",
        ),
    ],
    "SwiftTD": [
        ("swift_td", "zero if fresh else decay", "decay"),
        ("swift_td", "copy(m.h, m.h_old)", "pass"),
        ("swift_td", "zd * (one - overlap - zbar * phi)", "zd * (one - overlap)"),
        ("swift_td", "bound * m.step_sizes[k] * phi", "m.step_sizes[k] * phi"),
    ],
}
PLANTED = [(name, *bug) for name, bugs in BUGS.items() for bug in bugs]


@in_plain_python
@pytest.mark.parametrize(("name", "file", "old", "new"), PLANTED, ids=lambda text: text[:24])
def test_a_planted_bug_turns_it_red(name, file, old, new, mutant):
    package = mutant(f"learning/{file}.py", [(old, new)])
    with pytest.raises(AssertionError, match="step"):
        check(make(LINEAR, PREDICTION[name], package), LINEAR, PREDICTION[name], stream(70))


# ----------------------------------------------------------------------------------------------------------- SwiftTD


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_swift_td_without_learned_step_sizes_is_true_online_td(lambda_):
    """Van Seijen et al. 2016, with a step size of its own for each weight, over ends and discounts of 0."""
    alpha, s, d = 0.05, stream(200), D
    rule = SwiftTD(alpha, meta_step=1e-30, eta=10.0, decay=1.0)
    learner = TDLambda(Identity(), d, gamma=GAMMA, lambda_=lambda_, optimizer=Blocks(readout=rule))
    w, e, v_old, phi, discount = np.zeros(d + 1), np.zeros(d + 1), 0.0, None, 0.0
    for row in zip(s.observations, s.cumulants, s.discounts, s.terminated, s.truncated, strict=True):
        x, c, gamma, dead, cut = row
        phi_t = np.append(x, 1.0)
        if phi is not None:
            v, v_t = w @ phi, 0.0 if dead else w @ phi_t
            delta, decay = c + gamma * v_t - v, discount * lambda_
            e = decay * e + alpha * phi - alpha * decay * (e @ phi) * phi
            w = w + (delta + v - v_old) * e - alpha * (v - v_old) * phi
            v_old = v_t
        learner.step(*row)
        got = np.append(learner.parameters["readout.w"], learner.parameters["readout.b"])
        assert np.abs(got - w).max() <= 1e-12 * max(np.abs(w).max(), 1e-9)
        phi, discount = phi_t, gamma
        if dead or cut:
            e, v_old, phi = np.zeros(d + 1), 0.0, None
    assert np.abs(w).max() > 0.01


@in_plain_python
@pytest.mark.parametrize("kind", ["one episode", "cut traces", "episodes"])
def test_h_of_swift_td_is_the_derivative_of_a_weight_by_the_logarithm_of_its_step_size(kind):
    """Of one weight it is exact: the complex-step derivative of true online TD, with the target held."""
    rng, n = np.random.default_rng(0), 40
    phi, c = rng.uniform(0.5, 1.5, n), rng.standard_normal(n)
    decays = np.where((np.arange(n) % 7 == 6) & (kind == "cut traces"), 0.0, GAMMA * LAMBDA)
    spec = SwiftTD(0.05, meta_step=1e-30, eta=10.0, decay=1.0).spec()
    w, z, flat = np.zeros(1), np.zeros(1), np.zeros(size(optimizers.moments, spec, 1))
    moments = optimizers.moments(spec, 1, flat)[0]
    w_plain, e, v_old, a = 0j, 0j, 0j, np.exp(np.log(0.05) + 1e-30j)
    for t in range(n - 1):
        v = w_plain * phi[t]
        if t == 0 or (kind == "episodes" and t % 9 == 8):
            z[:], e, v_old = 0, 0j, v
        delta = c[t] + GAMMA * (w_plain * phi[t + 1]).real - v
        optimizers.follow(spec, w, z, phi[t : t + 1], moments, delta.real, decays[t])
        e = decays[t] * e + a * phi[t] * (1 - decays[t] * e * phi[t])
        v_new = w_plain * phi[t + 1]
        w_plain += (delta + v - v_old) * e - a * (v - v_old) * phi[t]
        v_old = v_new
        assert abs(w[0] - w_plain.real) <= 1e-13
        assert abs(moments.h[0] - w_plain.imag / 1e-30) <= 1e-12 * max(1, abs(moments.h[0])), f"step {t}"
    assert abs(moments.h[0]) > 0.01
