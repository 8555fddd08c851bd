"""Gymnasium's Reacher-v5 with a target that is shown once, as a partially observable Markov decision process (POMDP).

`envs.reacher_pomdp` has the task that asks for memory. This one mostly pays for moving little.
"""

from typing import Any

import gymnasium

from envs.masked import log_warnings

TARGET = [4, 5, 8, 9]  # entries of Reacher's observation: position of the target, and of the fingertip from the target


class MuJoCoReacherPOMDP(gymnasium.Wrapper):
    """Gymnasium's Reacher-v5, whose target is shown with the first observation only.

    ## Description
    A two-jointed arm reaches for a target, whose position has to be remembered through the episode. Elelimy et al. 2024
    (Fig. 5) have a task of this idea; `envs.ReacherPOMDP` is the likelier one. Here an arm that hardly moves gets about
    -10, and one that has learned to remember -7 (docs/results/stream-mujoco/arm.json).

    No other entry depends on the target, as the arm does not touch it. The reward does, as it contains the distance to
    the target: an agent that gets its previous reward can find the target without having seen it.

    ## Action Space
    `Box(-1, 1, (2,))`: the torques of both joints, in N m.

    ## Observation Space
    | index | what | first observation | afterwards | unit |
    |---|---|---|---|---|
    | 0, 1 | cosines of the joints' angles | shown | shown | |
    | 2, 3 | sines of the joints' angles | shown | shown | |
    | 4, 5 | position of the target | shown | 0 | m |
    | 6, 7 | angular velocities of the joints | shown | shown | rad/s |
    | 8, 9 | position of the fingertip from the target | shown | 0 | m |

    ## Rewards
    As in Reacher-v5: minus the distance from fingertip to target, minus the sum of squared actions.

    ## Starting State
    As in Reacher-v5.

    ## Episode End
    Truncation after 50 steps.

    ## Arguments
    All go to `gymnasium.make("Reacher-v5", ...)`.

    ## Version History
    - v0: first version, once under the id `rtu_np/ReacherPOMDP-v0`.

    Examples
    --------
    >>> import envs
    >>> env = gymnasium.make("rtu_np/ReacherPOMDP-MuJoCo-v0")
    >>> first, _ = env.reset(seed=0)
    >>> second = env.step(env.action_space.high)[0]
    >>> first[TARGET].round(2).tolist(), second[TARGET].tolist()
    ([0.04, 0.09, 0.17, -0.09], [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, **settings: Any) -> None:
        log_warnings()
        super().__init__(gymnasium.make("Reacher-v5", **settings).unwrapped)

    def step(self, action: Any):
        observation, reward, terminated, truncated, info = self.env.step(action)
        observation[TARGET] = 0.0
        return observation, reward, terminated, truncated, info


def make(**settings: Any) -> MuJoCoReacherPOMDP:
    """The task, for `gymnasium.make`. Before version 1.4, Gymnasium accepts no wrapper class as an entry point."""
    return MuJoCoReacherPOMDP(**settings)
