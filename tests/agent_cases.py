"""What the agents' tests share: a small world, and an actor-critic in it."""

import gymnasium
import numpy as np

from rtu_np import ActorCritic, LinearRTU

GAMMA = 0.9


class World(gymnasium.Env):
    """Random observations, rewards, and ends of episodes; for agents of one seed always the same."""

    def __init__(self, discrete: bool | gymnasium.Space, d: int = 3, ends: bool = True) -> None:
        """`discrete` is also an action space."""
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (d,), np.float64)
        if not isinstance(discrete, gymnasium.Space):
            discrete = gymnasium.spaces.Discrete(3) if discrete else gymnasium.spaces.Box(-0.5, 0.5, (2,))
        self.action_space = discrete
        self.d, self.ends, self.t, self.actions = d, ends, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.standard_normal(self.d), {}

    def step(self, action):
        self.t += 1
        self.actions.append(np.array(action))
        terminated, truncated = self.ends and self.t in (6, 14), self.ends and self.t == 10
        x = self.np_random.standard_normal(self.d)
        return x, self.np_random.standard_normal(), terminated, truncated, {}


def make(discrete: bool | gymnasium.Space, cell=None, **settings) -> ActorCritic:
    settings = {"gamma": GAMMA, "lambda_": 0.8, "entropy_coef": 0.1, "dtype": "float64", "seed": 3, **settings}
    agent = ActorCritic(World(discrete), cell or LinearRTU(4), **settings)
    rng = np.random.default_rng(5)
    for name in ("critic.value.w", "value.w"):  # which start at zero, and would hide their gradient
        if name in agent.parameters:
            agent.parameters[name][:] = rng.standard_normal(agent.parameters[name].size)
    return agent


def everything(agent: ActorCritic) -> bytes:
    return b"".join(array.tobytes() for array in agent._arrays().values())
