"""What PPO's tests share: a small world, agents in it, and rollouts."""

import sys

import gated_oracles
import numpy as np
import pytest
from cases import KINDS, Case, dense, rtu, stacked
from gymnasium import spaces
from mutants import rebuilt
from ppo_oracle import PPOOracle

import rtu_np
from rtu_np import GRU, RTRL, LinearRTU

D, N, T = 3, 12, 3
ENCODED = {
    "linear RTU behind an encoder": stacked(dense("tanh", 4), rtu(LinearRTU, "tanh")),
    "GRU behind an encoder": stacked(dense("tanh", 4), Case(GRU(4), gated_oracles.gru, 4)),
    "feedforward": dense("tanh", 4),
}
CELLS = {**KINDS, **ENCODED}


class World:
    """Random observations and rewards; episodes end after 5 steps in turn by themselves and cut short."""

    observation_space = spaces.Box(-np.inf, np.inf, (D,))

    def __init__(self, discrete: bool | spaces.Space = True, seed: int = 0, every: int = 5) -> None:
        """`discrete` is also an action space."""
        if not isinstance(discrete, spaces.Space):
            discrete = spaces.Discrete(3) if discrete else spaces.Box(-1, 1, (2,), np.float64)
        self.action_space = discrete
        self._rng, self._steps, self._every = np.random.default_rng(seed), 0, every

    def reset(self, seed=None):
        return self._rng.standard_normal(D), {}

    def step(self, action):
        self._steps += 1
        over = self._steps % self._every == 0
        early = over and self._steps % (2 * self._every) == 0
        return self._rng.standard_normal(D), float(self._rng.standard_normal()), over and not early, early, {}


class CompleteError(Exception):
    """A rollout is."""


def make(cell, discrete=True, package=rtu_np, every=5, **settings) -> tuple:
    """(agent, world) with a small network, not all too near to zero, in float64."""
    world = World(discrete, every=every)
    settings = {"n_steps": N, "n_minibatches": 2, "dtype": "float64", "threads": 1, "n_epochs": 2, **settings}
    narrow = package.Dense(3, "tanh")
    agent = package.PPO(world, cell, actor=narrow, critic=narrow, **settings)
    rng = np.random.default_rng(5)
    for name, view in agent.parameters.items():
        if name.startswith(("actor", "critic", "policy", "value")):
            view[:] = 0.5 * rng.standard_normal(view.shape)
    return agent, world


def collected(agent, world, done=0):
    """The rollout of `agent` in `world` after `done` steps, complete, nothing learned from it yet."""

    def stop():
        raise CompleteError

    update, agent._update = agent._update, stop
    with pytest.raises(CompleteError):
        agent.learn(world, 2 * agent.n_steps, progress=False, log=None)
    agent._update = update
    assert agent.steps == done + agent.n_steps
    return agent._views.rollout


def oracle_of(agent, case, rollout, discrete, below=()) -> PPOOracle:
    steps = getattr(agent.gradient, "steps", None)  # of a copy of the package, too, whose TBPTT is another class
    settings = {name: getattr(agent, name) for name in ("clip", "value_coef", "entropy_coef", "gae_lambda")}
    return PPOOracle(case.in_blocks, case.n_state, rollout, discrete, steps, below, gamma=agent.gamma, **settings)


def parameters(agent) -> dict:
    return {name: view.copy() for name, view in agent.parameters.items()}


def below_of(name, gradient) -> tuple:
    """Blocks whose effect on earlier states layer-local RTRL leaves out."""
    return ("encoder.",) if name.endswith("an encoder") and gradient == RTRL() else ()


def stale(name, gradient, discrete, every=5, package=rtu_np, **settings):
    """(agent, rollout, its parameters when that was collected), with other parameters since."""
    cell = rebuilt(package, CELLS[name].cell)
    agent, world = make(cell, discrete, package, gradient=rebuilt(package, gradient), every=every, **settings)
    rollout, then = collected(agent, world), parameters(agent)
    rng = np.random.default_rng(6)
    for view in agent.parameters.values():
        view += 0.05 * rng.standard_normal(view.shape)
    agent.parameters["value.b"][:] += 0.3  # so far that the clip binds
    agent._update._compute_gae()
    return agent, rollout, then


def gradient_of(agent, order) -> dict:
    """{name: array} of the loss of the sequences `order`, as the agent works it out in parts."""
    update, ppo = agent._update, sys.modules[type(agent).__module__]
    update._gradient_of(order, 0, len(order))(0, len(update._parts))
    total: dict = {}
    for k in range(len(update._parts)):
        gradient = sys.modules[type(update).__module__].chunk(agent._spec, update._parts[k])[0].gradient
        part = ppo._named(agent._spec, gradient)
        total = {name: total.get(name, 0.0) + view for name, view in part.items()}
    return total


def sequences(agent) -> np.ndarray:
    """Those of one minibatch, in no order."""
    n = N // agent._spec.sequence
    return np.random.default_rng(8).permutation(n)[: n // 2]
