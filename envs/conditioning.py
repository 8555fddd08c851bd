"""Animal-learning streams: their common base, and trace conditioning.

After the classical-conditioning benchmark of Rafiee et al. 2022 (Adaptive Behavior), on which Elelimy et al. 2024
build. A trial begins with the onset of conditioned stimuli (CS). An inter-stimulus interval (ISI, onset to onset) later
the unconditioned stimulus (US) may follow, and an inter-trial interval (ITI) after that the next trial begins. Actions
have no effect: these are streams of observations x_t = [US, CS, distractors], with the US as cumulant.

One state machine, `_show`, makes every step. Gymnasium's `step` asks for one, `generate` for many at once, and `learn`
for as many as the agent makes: all give the same stream.
"""

from typing import Any, NamedTuple

import numpy as np

from envs.bayes import AFTER_CS, follow, table
from envs.stream import Stream
from rtu_np.compiled_environment import advance, begin, compiled
from rtu_np.jit import kernel
from rtu_np.validation import check_array, check_count, check_real

DISCOUNTS = {4: 0.75, 5: 0.8, 10: 0.9, 20: 0.95, 30: 0.966, 40: 0.975, 80: 0.9875}  # the benchmark's, by ISI


class Timing(NamedTuple):
    """Lengths and intervals in steps."""

    isi_low: int
    isi_high: int
    iti_low: int
    iti_high: int
    cs_length: int
    us_length: int
    distractor_length: int


class Trials(NamedTuple):
    """Settings of the state machine."""

    timing: Timing
    patterns: np.ndarray  # (k, n_cs)   which CSs are on; the first `activating` patterns announce the US
    activating: int
    noise: float  # probability that the US contradicts its pattern
    chances: np.ndarray  # (n_distractors,)   probability that a distractor starts when off


# Places of the state, int64. UNTIL_US: steps until the US would begin, -1 if none is expected. PATTERN: row of the
# table of patterns. The steps that each distractor has left follow.
UNTIL_CS, UNTIL_US, US_COMES, CS_LEFT, US_LEFT, PATTERN, DISTRACTORS = range(7)


@kernel(fused=False)
def _integer(rng, low, high):
    """Uniform on low ... high."""
    return low + int(rng.random() * (high - low + 1))


@begin.register(Trials)
def _begin(dynamics, state, rng, observation):
    first = _integer(rng, dynamics.timing.iti_low, dynamics.timing.iti_high)
    for k in range(state.shape[0]):
        state[k] = 0
    state[UNTIL_CS], state[UNTIL_US] = first, -1
    _show(dynamics, state, rng, observation)


@advance.register(Trials)
def _advance(dynamics, state, action, rng, observation):
    _show(dynamics, state, rng, observation)
    return observation[0], False, False


@kernel(fused=False)
def _show(dynamics, state, rng, observation):
    """Write the next observation, and go on by a step."""
    timing, patterns, chances = dynamics.timing, dynamics.patterns, dynamics.chances
    distractors, n_cs = state[DISTRACTORS:], patterns.shape[1]
    if state[UNTIL_CS] == 0:
        state[CS_LEFT] = timing.cs_length
        state[UNTIL_US] = _integer(rng, timing.isi_low, timing.isi_high)
        state[US_COMES] = 1
        if patterns.shape[0] > 1:
            comes = 1 if rng.random() < 0.5 else 0
            first, last = (0, dynamics.activating - 1) if comes == 1 else (dynamics.activating, patterns.shape[0] - 1)
            state[PATTERN] = _integer(rng, first, last)
            if dynamics.noise > 0 and rng.random() < dynamics.noise:
                comes = 1 - comes
            state[US_COMES] = comes
    if state[UNTIL_US] == 0:
        state[US_LEFT] = timing.us_length if state[US_COMES] == 1 else 0
        state[UNTIL_CS] = _integer(rng, timing.iti_low, timing.iti_high)
    observation[0] = state[US_LEFT] > 0
    for k in range(n_cs):
        observation[1 + k] = state[CS_LEFT] > 0 and patterns[state[PATTERN], k] != 0
    for k in range(chances.shape[0]):
        if distractors[k] == 0 and rng.random() < chances[k]:
            distractors[k] = timing.distractor_length
        observation[1 + n_cs + k] = distractors[k] > 0
        distractors[k] = max(distractors[k] - 1, 0)
    state[US_LEFT], state[CS_LEFT] = max(state[US_LEFT] - 1, 0), max(state[CS_LEFT] - 1, 0)
    state[UNTIL_CS], state[UNTIL_US] = max(state[UNTIL_CS] - 1, -1), max(state[UNTIL_US] - 1, -1)


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} is {value!r}: expected a pair (shortest, longest) of steps")
    return value[0], value[1]


class Conditioning(Stream):
    """Base of the three conditioning streams."""

    def __init__(
        self,
        isi: int,
        isi_spread: int,
        iti: tuple[int, int],
        cs_length: int,
        us_length: int,
        n_distractors: int,
        patterns: np.ndarray,
        activating: int,
        noise: float = 0.0,
    ) -> None:
        self.isi = check_count("isi", isi)
        low, high = (check_count(f"iti[{k}]", value) for k, value in enumerate(_pair("iti", iti)))
        if low > high:
            raise ValueError(f"iti is {iti!r}: expected (shortest, longest); are they swapped?")
        check_count("cs_length", cs_length)
        check_count("us_length", us_length, hint="the US must be seen")
        if low <= us_length or low <= cs_length:
            longest = max(us_length, cs_length)
            raise ValueError(
                f"iti is {iti!r}: expected at least {longest + 1} steps, longer than CS ({cs_length}) and US "
                f"({us_length}); otherwise the next trial would begin before this one has ended"
            )
        check_count("n_distractors", n_distractors, low=0)
        timing = Timing(self.isi - isi_spread, self.isi + isi_spread, low, high, cs_length, us_length, 4)
        noise = check_real("noise", noise, low=0.0, high=1.0)
        chances = np.array([1 / (10 * (k + 1)) for k in range(n_distractors)])
        self.dynamics = Trials(timing, patterns, activating, noise, chances)
        self.state = np.zeros(DISTRACTORS + n_distractors, np.int64)
        self.gamma = DISCOUNTS.get(self.isi, 1 - 1 / self.isi)
        super().__init__(1 + patterns.shape[1] + n_distractors)

    @property
    def observation_names(self) -> list[str]:
        """The name of each entry of an observation."""
        n_cs = self.n_stimuli - 1
        cs = ["CS"] if n_cs == 1 else [f"CS {k + 1}" for k in range(n_cs)]
        return ["US", *cs, *(f"distractor {k + 1}" for k in range(len(self.dynamics.chances)))]

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli, US and CSs, at the start of an observation; the other entries are distractors."""
        return 1 + self.dynamics.patterns.shape[1]

    def bayes_prediction(self, observations: Any, gamma: float | None = None) -> np.ndarray:
        """(T,) E[G_t | all seen up to t], with G_t = US_{t+1} + gamma G_{t+1}, from derivations (25) (`envs.bayes`).

        No predictor has a smaller mean squared error. Distractors carry no information.

        Parameters
        ----------
        observations : (T, at least n_stimuli), US and CSs in the first columns, from a reset on
        gamma : discount; the environment's own by default

        Raises
        ------
        ValueError : if the observations cannot be of this environment, or gamma is 1
        """
        n = self.n_stimuli
        stimuli = check_array("observations", observations, (None, None), hint="one row per step")
        if stimuli.shape[1] < n:
            wanted = "two columns, US and CS" if n == 2 else f"{n} columns, US and {n - 1} CSs"
            raise ValueError(f"observations has shape {stimuli.shape}: expected at least {wanted}")
        gamma = self.gamma if gamma is None else check_real("gamma", gamma, low=0.0, high=1.0)
        t, on = self.dynamics.timing, stimuli[:, :n] > 0
        begins = on[:, 1:].any(1) & ~np.r_[False, on[:-1, 1:].any(1)]
        activates = (on[begins, None, 1:] == (self.dynamics.patterns[: self.dynamics.activating] > 0)).all(2).any(1)
        rows = np.full(len(on), -1)
        rows[begins] = np.where(activates, AFTER_CS, AFTER_CS + 1)
        kinds = [(1.0, 1.0)] if n == 2 else [(0.5, 1.0 - self.dynamics.noise), (0.5, self.dynamics.noise)]
        values = table((t.isi_low, t.isi_high), (t.iti_low, t.iti_high), t.us_length, kinds, gamma)
        out = np.empty(len(on))
        if not follow(np.ascontiguousarray(on[:, 0]), rows, values, out):
            raise ValueError(
                "observations do not fit this environment: a stimulus is overdue; do they begin at a reset, and has "
                "their environment this isi and iti?"
            )
        return out


@compiled
class TraceConditioning(Conditioning):
    """A CS, and about `isi` steps after its onset the US; nothing marks the time between them.

    ## Description
    The trace conditioning task of Rafiee et al. 2022. A trial begins with the onset of the CS; the US follows after a
    number of steps drawn from isi - floor(isi/3) ... isi + floor(isi/3); the next CS an ITI after the onset of the US.
    The first CS comes an ITI after the reset, as if a US had just begun.

    ## Action Space
    `Discrete(1)`: the action has no effect.

    ## Observation Space
    | index | what | value |
    |---|---|---|
    | 0 | US | 1 while on, for `us_length` steps |
    | 1 | CS | 1 while on, for `cs_length` steps |
    | 2 ... | distractor k = 1, 2, ... | 1 while on, for 4 steps; starts with probability 1/(10 k) when off |

    ## Rewards
    The cumulant that arrives with the observation: 1 while the US is on, else 0.

    ## Starting State
    Nothing is on.

    ## Episode End
    Never.

    ## Arguments
    - `isi`: mean steps from CS onset to US onset.
    - `iti`: (shortest, longest) steps from US onset to the next CS onset, drawn uniformly.
    - `cs_length`, `us_length`: steps that a stimulus lasts.
    - `n_distractors`: number of distractors.

    `env.gamma` is the benchmark's discount for this ISI (1 - 1/isi if it has none). `env.bayes_prediction` is the best
    possible prediction.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> env = TraceConditioning(isi=10)
    >>> observations, cumulants = env.generate(1000, seed=0)
    >>> observations.shape, int(cumulants.sum())
    ((1000, 12), 18)
    """

    def __init__(
        self,
        isi: int = 10,
        iti: tuple[int, int] = (80, 120),
        cs_length: int = 4,
        us_length: int = 2,
        n_distractors: int = 10,
    ) -> None:
        spread = check_count("isi", isi) // 3
        super().__init__(isi, spread, iti, cs_length, us_length, n_distractors, np.ones((1, 1)), 1)
