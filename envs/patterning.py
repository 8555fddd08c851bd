"""Animal-learning streams: trace patterning and noisy patterning.

The pattern of several conditioned stimuli (CS) decides whether the unconditioned stimulus (US) follows. ISI is the
inter-stimulus interval, from CS to US; ITI the inter-trial interval, from US to the next CS.
"""

import numpy as np

from envs.conditioning import Conditioning
from rtu_np.compiled_environment import compiled
from rtu_np.validation import check_count


@compiled
class TracePatterning(Conditioning):
    """Which CSs are on together decides whether the US follows.

    ## Description
    The trace patterning task of Rafiee et al. 2022. In each trial half of the CSs are on. With probability .5 their
    pattern is one of the activating ones, and the US follows. After any other pattern no US follows, and the next trial
    begins an ITI after the step at which a US would have begun. Patterns and timing have to be remembered. No single CS
    predicts the US for certain.

    ## Action Space
    `Discrete(1)`: the action has no effect.

    ## Observation Space
    | index | what | value |
    |---|---|---|
    | 0 | US | 1 while on, for `us_length` steps |
    | 1 ... n_cs | CS k | 1 while on, for `cs_length` steps |
    | n_cs + 1 ... | distractor k = 1, 2, ... | 1 while on, for 4 steps; starts with probability 1/(10 k) when off |

    ## Rewards
    The cumulant that arrives with the observation: 1 while the US is on, else 0.

    ## Starting State
    Nothing is on; the first trial begins an ITI after the reset.

    ## Episode End
    Never.

    ## Arguments
    - `isi`, `iti`, `cs_length`, `us_length`, `n_distractors`: as in `TraceConditioning`.
    - `n_cs`: number of CSs, even.
    - `n_activating`: number of activating patterns; half of all patterns by default.
    - `noise`: probability that the US contradicts the pattern.
    - `pattern_seed`: which patterns are activating. It belongs to the task: a reset does not change it.

    The default numbers of CSs and of activating patterns are choices of this implementation.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> TracePatterning(n_cs=4).generate(100, seed=0)[0].shape
    (100, 15)
    """

    def __init__(
        self,
        isi: int = 10,
        iti: tuple[int, int] = (80, 120),
        cs_length: int = 4,
        us_length: int = 2,
        n_distractors: int = 10,
        n_cs: int = 6,
        n_activating: int | None = None,
        noise: float = 0.0,
        pattern_seed: int = 0,
    ) -> None:
        spread = self._spread(check_count("isi", isi))
        patterns, activating = _patterns(n_cs, n_activating, pattern_seed)
        super().__init__(isi, spread, iti, cs_length, us_length, n_distractors, patterns, activating, noise)

    def _spread(self, isi: int) -> int:
        return isi // 3

    @property
    def activating_patterns(self) -> np.ndarray:
        """(n_activating, n_cs): the patterns of CSs after which the US comes."""
        return self.dynamics.patterns[: self.dynamics.activating].copy()


@compiled
class NoisyPatterning(TracePatterning):
    """Trace patterning with noise and without the gap: the US begins as the CSs end, and may contradict the pattern.

    ## Description
    The noisy patterning task of Rafiee et al. 2022: as `TracePatterning`, with the ISI fixed to the length of the
    CSs, and a US that contradicts its pattern in one trial of ten.

    ## Action Space
    `Discrete(1)`: the action has no effect.

    ## Observation Space
    As in `TracePatterning`.

    ## Rewards
    The cumulant that arrives with the observation: 1 while the US is on, else 0.

    ## Starting State
    Nothing is on; the first trial begins an ITI after the reset.

    ## Episode End
    Never.

    ## Arguments
    - `cs_length`: also the ISI.
    - The others as in `TracePatterning`. The default `noise`, .1, is a choice of this implementation.

    ## Version History
    - v0: first version.

    Examples
    --------
    >>> NoisyPatterning().isi
    4
    """

    def __init__(
        self,
        iti: tuple[int, int] = (80, 120),
        cs_length: int = 4,
        us_length: int = 2,
        n_distractors: int = 10,
        n_cs: int = 6,
        n_activating: int | None = None,
        noise: float = 0.1,
        pattern_seed: int = 0,
    ) -> None:
        check_count("cs_length", cs_length)
        super().__init__(cs_length, iti, cs_length, us_length, n_distractors, n_cs, n_activating, noise, pattern_seed)

    def _spread(self, isi: int) -> int:
        return 0


def _patterns(n_cs: int, n_activating: int | None, seed: int) -> tuple[np.ndarray, int]:
    """(patterns, n): all patterns with half of the CSs on, (k, n_cs); the first n are the activating ones."""
    check_count("n_cs", n_cs, low=2)
    if n_cs % 2 or n_cs > 16:
        raise ValueError(f"n_cs is {n_cs}: expected an even number up to 16, as half of the CSs are on in each pattern")
    check_count("pattern_seed", seed, low=0)
    codes = np.arange(2**n_cs)[:, None] >> np.arange(n_cs) & 1
    patterns = np.random.default_rng(seed).permutation(codes[codes.sum(1) == n_cs // 2].astype(np.float64))
    activating = len(patterns) // 2 if n_activating is None else check_count("n_activating", n_activating)
    if activating >= len(patterns):
        raise ValueError(
            f"n_activating is {activating}: expected fewer than the {len(patterns)} patterns of {n_cs} CSs, so that "
            "some do not activate the US"
        )
    return patterns, activating
