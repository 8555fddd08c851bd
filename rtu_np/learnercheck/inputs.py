"""From an observation to a network's input, from the equations of the running statistics: (41), (73)-(75)."""

from typing import Any

import numpy as np

from rtu_np.learnercheck import mistakes
from rtu_np.learnercheck.body import Arrays

EPSILON, FLOOR, FARTHEST = 1e-8, 1e-8, 1e6


def of_stage(stage: Any, state: Arrays, x: Any, first: bool, mistake: str = "") -> Arrays:
    """What the input stage of a learner of predictions writes for the observation x; {} without a stage."""
    if not stage.on:
        return {}
    value = np.where(stage_seen(x), np.asarray(x, float), np.nan)
    W, Q, mean, M, held = (state[f"inputs.{name}"].copy() for name in ("weight", "squares", "mean", "M", "held"))
    held[:] = np.nan if first else held
    normal, rho = stage.normalize, 1.0
    seen, number = ~np.isnan(value), value.copy()
    if normal is not None:
        rho = 1.0 if normal.half_life is None else 0.5 ** (1 / normal.half_life)
        if normal.clip is not None:
            reach = normal.clip * _deviation(W, Q, mean, M)
            number = np.where(seen & (M > 0), np.clip(value, mean - reach, mean + reach), value)
        old = (W.copy(), Q.copy(), mean.copy(), M.copy())
        W[seen], Q[seen] = rho * W[seen] + 1, rho**2 * Q[seen] + 1
        distance = np.where(seen, number - mean, 0.0)
        mean = mean + np.divide(distance, W, out=np.zeros_like(W), where=seen)
        M = np.where(seen, rho * M + distance * (number - mean), M)
        used = old if mistake == mistakes.LATE else (W, Q, mean, M)
    held = np.where(seen, number, held)
    stands = np.where(seen, number, held if stage.missing == "hold" else np.nan)
    if normal is not None:
        stands = np.clip((stands - used[2]) / _deviation(*used), -FARTHEST, FARTHEST)
    out = np.nan_to_num(stands, nan=0.0)
    out = out if stage.missing is None else np.concatenate([out, (~seen).astype(float)])
    silent = state["inputs.silent"]
    found = {"inputs.weight": W, "inputs.squares": Q, "inputs.mean": mean, "inputs.M": M, "inputs.x": out}
    return {**found, "inputs.silent": 0 * silent if seen.any() else silent + 1}


def stage_seen(x: Any) -> np.ndarray:
    """Which numbers of an observation are not missing."""
    return np.array([each is not None and each == each for each in np.ma.filled(np.ma.asarray(x, float), np.nan)])


def _deviation(W: np.ndarray, Q: np.ndarray, mean: np.ndarray, M: np.ndarray) -> np.ndarray:
    varied = M != 0
    count = np.where(varied, W - Q / np.where(W > 0, W, 1.0), 1.0)
    return np.where(varied, np.sqrt(M / count + (FLOOR * mean) ** 2), 1.0)


# -------------------------------------------------------------------------------------------------------------- agents


class AgentInputs:
    """The input of an agent's networks: normalised observations, scaled rewards, the previous action and reward."""

    def __init__(self, agent: Any) -> None:
        self._s, self._gamma, self._agent = agent.inputs, agent.gamma, agent

    def expected(self, state: Arrays, observation: np.ndarray, reward: float, how: tuple[bool, bool, str]) -> Arrays:
        """All that `preprocess` writes, and `reward`, as it is learned from.

        how : whether the step is the first, whether it ends the episode, and a mistake
        """
        first, ends, mistake = how
        found: Arrays = {}
        previous = np.zeros_like(state["previous"])
        G, *of_return = (state[f"inputs.return.{name}"] for name in ("G", "n", "mean", "M"))
        if not first:
            if self._s.scale_rewards:
                done = ends and mistake != mistakes.DONE_LATE
                G = (0.0 if done else self._gamma) * G + reward
                of_return = list(_welford(*of_return, G))  # type: ignore[call-arg]
                reward = reward / _root(*of_return)[0]
            previous = state["previous"].copy()
            previous[-1:] = reward
        found |= dict(zip((f"inputs.return.{name}" for name in ("G", "n", "mean", "M")), (G, *of_return), strict=True))
        n, mean, M = stats = tuple(state[f"inputs.observation.{name}"] for name in ("n", "mean", "M"))
        if self._s.clip_observations is not None:
            reach = self._s.clip_observations * _root(*stats)
            observation = np.where(M == 0, observation, np.clip(observation, mean - reach, mean + reach))
        x = observation
        if self._s.normalize_observations:
            behind = _welford(n, mean, M, observation)
            used = stats if mistake == mistakes.LATE else behind
            x, stats = (observation - used[1]) / _root(*used), behind
        found |= dict(zip((f"inputs.observation.{name}" for name in ("n", "mean", "M")), stats, strict=True))
        return {**found, "inputs.x": np.concatenate([x, previous]), "previous": previous, "reward": np.array(reward)}


def _welford(n: np.ndarray, mean: np.ndarray, M: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
    behind = mean + (x - mean) / (n + 1)
    return n + 1, behind, M + (x - mean) * (x - behind)


def _root(n: np.ndarray, mean: np.ndarray, M: np.ndarray) -> np.ndarray:
    return np.sqrt((M / (n - 1) if n[0] > 1 else np.ones_like(M)) + EPSILON)
