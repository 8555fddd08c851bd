"""What a PPO agent holds, as named arrays, and its networks as the reference sees them.

Stored sensitivities are read as d state / d parameter, one row of the matrix at a time: `accumulate_stored` with a unit
vector is what they mean to the agent. The reference compares this with a matrix of its own.
"""

import copy
from typing import Any

import numpy as np

from rtu_np import protocol
from rtu_np.control.ppo.agent import PPO, _named
from rtu_np.learnercheck.body import Arrays, Body, derivatives
from rtu_np.learning.blocks import named_layers
from rtu_np.learning.network import weights
from rtu_np.learning.outcomes import STEPS
from rtu_np.numerics.buffers import allocate, leaves, rebuild, size

ROWS = ("x", "finals", "actions", "starts", "ends", "log_p", "values", "rewards", "bootstraps", "advantages", "returns")
SENSITIVITIES = "rollout.sensitivities."


def arrays_of(agent: PPO) -> Arrays:
    """Its arrays by name, with all rows of the rollout, and the orders of minibatches that it would draw next."""
    learned, live, rollout = agent._views
    held = {name: a for name, a in agent._arrays().items() if not name.startswith(("rollout.", "memory", "update"))}
    summary = agent._update.summary
    held |= {f"rollout.{name}": getattr(rollout, name) for name in ROWS}
    memory, _ = protocol.memory(agent._spec.cell, rollout.memory)
    held |= {"rollout.first": joined(memory.state), "gradient": learned.flat_gradient}
    held |= {"rollout.states": rollout.states[:, places_of_state(agent._spec)]}
    held |= {"memory.state": joined(live.memory.state), "memory.y": live.memory.y}
    held |= {"summary.updates": summary[:1], "summary.means": summary[1:], "orders": _orders(agent)}
    return {**held, **stored_at(agent, int(agent._clock[STEPS]) % agent.n_steps)}


def joined(views: Any) -> np.ndarray:
    """All numbers of views, without what stands between them."""
    parts = [np.ravel(view) for view in leaves(views).values()]
    return np.concatenate(parts) if parts else np.zeros(0)


def places_of_state(spec: Any) -> np.ndarray:
    """Where the numbers of a state stand in its flat array, which may have padding."""
    flat = np.arange(spec.n_state, dtype=np.float64)
    return joined(protocol.state(spec.cell, flat)[0]).astype(int)


def _orders(agent: PPO) -> np.ndarray:
    rng = copy.deepcopy(agent._rng)
    return np.array([rng.permutation(agent.n_steps // agent._spec.sequence) for _ in range(agent.n_epochs)])


def stored_at(agent: PPO, row: int) -> Arrays:
    """{name: (numbers of the state, *shape)} of the sensitivities stored with a transition; {} if nothing is stored."""
    if agent._rounded is not None:
        return _dense(agent, (agent._rounded[row].astype(np.uint32) << 16).view(np.float32))
    return _dense(agent, agent._views.rollout.stored[row])


def stored_first(agent: PPO) -> Arrays:
    """The same of the memory with which the rollout began."""
    spec = agent._spec
    numbers = allocate(spec.n_stored + spec.n_rounded, agent.dtype)
    if numbers.size:
        memory, _ = protocol.memory(spec.cell, agent._views.rollout.memory.copy())
        protocol.store_sensitivities(spec.cell, memory, protocol.stored_sensitivities(spec.cell, numbers)[0])
    return _dense(agent, numbers)


def _dense(agent: PPO, numbers: np.ndarray) -> Arrays:
    if not numbers.size:
        return {}
    cell, rows = agent._spec.cell, []
    for place in places_of_state(agent._spec):
        stored, _ = protocol.stored_sensitivities(cell, numbers.copy())  # in which a cell may write
        along, out = allocate(agent._spec.n_state, agent.dtype), allocate(size(protocol.parameters, cell), agent.dtype)
        along[place] = 1
        views, _ = protocol.parameters(cell, out)
        protocol.accumulate_stored(cell, stored, along, views)
        rows.append({name: view.copy() for name, view in named_layers(cell, views, SENSITIVITIES).items()})
    return {name: np.array([row[name] for row in rows], float) for name in rows[0]}


class Branch:
    """Actor or critic, with its head."""

    def __init__(self, spec: Any, params: Any, name: str, head: str) -> None:
        self._spec, self._views = spec, params
        self._names, self._head = list(named_layers(spec, params, f"{name}.", "hidden")), head
        self._state, _ = protocol.state(spec, np.zeros(0))

    def of(self, params: Arrays) -> Arrays:
        """Its own parameters."""
        return {k: a for k, a in params.items() if k in self._names or k.startswith(f"{self._head}.")}

    def derivatives(self, params: Arrays, y: np.ndarray) -> Arrays:
        """{name: (outputs, *shape)} by its own parameters, and by the features "y"."""
        return derivatives(lambda p: self.read(p, p["y"]), {**self.of(params), "y": y})

    def read(self, params: Arrays, y: np.ndarray) -> np.ndarray:
        """The outputs for the features y; both may be complex."""
        views = rebuild(self._views, [params[name] for name in self._names])
        features = protocol.plain_forward(self._spec, views, self._state, y)[1]
        linear = params[f"{self._head}.W"] @ features + params[f"{self._head}.b"]
        return np.concatenate([linear, params.get(f"{self._head}.log_std", np.zeros(0))])


class PPONet:
    """The network by the names of its agent's parameters."""

    def __init__(self, agent: PPO) -> None:
        self.spec, views = agent._spec, agent._views.learned.params
        flat = np.arange(size(weights, self.spec), dtype=agent.dtype)
        self._index = {k: v.astype(int) for k, v in _named(self.spec, weights(self.spec, flat)[0]).items()}
        self.n = flat.size
        self.body, self._views = Body(self.spec.cell, views.cell), views.cell
        branches, read = self.spec.readout, views.readout
        self.actor = Branch(branches.actor, read.actor, "actor", "policy")
        self.critic = Branch(branches.critic, read.critic, "critic", "value")

    def params(self, state: Arrays) -> Arrays:
        """The parameters, without the prefix."""
        return {name: state[f"params.{name}"].copy() for name in self._index}

    def flat(self, arrays: Arrays) -> np.ndarray:
        """(n,) with zeros in the padding"""
        flat = np.zeros(self.n)
        for name, index in self._index.items():
            flat[index] = arrays[name]
        return flat

    def by_name(self, flat: np.ndarray) -> Arrays:
        return {name: flat[index] for name, index in self._index.items()}

    def padded(self, flat: np.ndarray) -> np.ndarray:
        """NaN for the padding, which is not compared."""
        used = np.zeros(self.n, bool)
        for index in self._index.values():
            used[index] = True
        return np.where(used, flat, np.nan)

    def value(self, params: Arrays, y: np.ndarray) -> float:
        return float(self.critic.read(params, y)[0])

    def confine(self, params: Arrays) -> bool:
        """Bring parameters to the bounds of the cell; returns whether a phase is to be wrapped."""
        return bool(protocol.confine(self.spec.cell, rebuild(self._views, [params[name] for name in self.body.names])))
