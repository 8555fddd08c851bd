"""What `learn` calls while an agent learns: functions of the agent, after every step or after steps that they name.

A callback with an attribute `every` is called after the steps of the agent's life that `every` divides. Between these
steps, `learn` makes stretches in compiled code, as without a callback; a callback without `every` is called after every
step, so that `learn` goes step by step. A callback that has a method `check(agent, env, log)` is asked before anything
is written or learned, and raises if it cannot do its work; `log` is the argument of `learn`.

>>> import gymnasium
>>> from rtu_np import ActorCritic, LinearRTU
>>> env = gymnasium.make("CartPole-v1")
>>> agent, seen = ActorCritic(env, LinearRTU(4)), []
>>> callback = [every(100, lambda agent: seen.append(agent.steps)), lambda agent: agent.steps < 250]
>>> _ = agent.learn(env, 1000, progress=False, callback=callback, log=None)
>>> seen, agent.steps
([100, 200], 250)
"""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtu_np import checkpoint
from rtu_np.control import runs
from rtu_np.control.environments import innermost
from rtu_np.control.logs import Table
from rtu_np.intervals import interval
from rtu_np.validation import check_count, check_flag

Callback = Callable[[Any], Any]
SHORTEST = 4  # steps between two calls, below which making stretches takes longer than going step by step
_EVALUATIONS = ("step", "episodes", "mean", "low", "high", "smallest", "largest", "best")
_STEP = re.compile(r"step-(\d{10,})")


def every(steps: int, function: Callback) -> Callback:
    """`function`, called after the steps of the agent's life that `steps` divides.

    Parameters
    ----------
    steps : of the agent's life between two calls
    function : gets the agent; learning stops if it returns something false that is not None

    Raises
    ------
    ValueError, TypeError : by name, for steps below 1, and for what is no function

    Examples
    --------
    >>> every(1000, print).every
    1000
    """
    return _Every(check_count("steps", steps), function)


class _Every:
    def __init__(self, steps: int, function: Callback) -> None:
        self.every, self._function = steps, function
        if not callable(function):
            raise TypeError(f"function is {function!r}: expected a function of the agent")

    def __call__(self, agent: Any) -> Any:
        return self._function(agent)


class Callbacks:
    """The callbacks of one call of `learn`."""

    def __init__(self, given: Callback | Sequence[Callback] | None) -> None:
        several = isinstance(given, list | tuple)
        self._all: list[Any] = [] if given is None else list(given) if several else [given]  # type: ignore[arg-type]
        for k, each in enumerate(self._all):
            name = f"callback[{k}]" if several else "callback"
            if not callable(each):
                expected = "a function of the agent" if several else "a function of the agent, a list of them, or None"
                raise TypeError(f"{name} is {each!r}: expected {expected}")
            check_count(f"{name}.every", _steps_between(each))

    @property
    def leave_stretches(self) -> bool:
        """Whether stretches of steps pass without a call."""
        return all(_steps_between(each) >= SHORTEST for each in self._all)

    def check(self, agent: Any, env: Any, log: Any) -> None:
        """Ask each callback whether it can do its work."""
        for each in self._all:
            if hasattr(each, "check"):
                each.check(agent, env, log)

    def until(self, step: int) -> int:
        """Steps from `step` to the next call."""
        return min((between - step % between for between in map(_steps_between, self._all)), default=sys.maxsize)

    def call(self, agent: Any) -> bool:
        """Call those that this step concerns, all of them; returns whether learning goes on."""
        goes_on, step = True, agent.steps
        for each in self._all:
            if step % _steps_between(each) == 0:
                answer = each(agent)
                goes_on &= answer is None or bool(answer)
        return goes_on


def _steps_between(callback: Any) -> int:
    return getattr(callback, "every", 1)


def _folder(argument: str | os.PathLike | None, agent: Any) -> Any:
    """The folder that a callback was given, or else that of the agent's log, which may be None."""
    return agent.log_folder if argument is None else Path(argument).expanduser()


class Evaluation:
    """Evaluate the agent every so many steps, greedily, in an environment of its own; the best agent is stored.

    Learning is the same to the bit as without evaluations, and so are the agent's files. `evaluations.csv` has a row
    for each evaluation: mean return, its 95 % bootstrap interval over episodes, the smallest and largest return, and
    whether the agent was the best so far, and so was written to `best.npz`. TensorBoard gets `eval/episodic_return`.

    Parameters
    ----------
    env : another environment than the one that the agent learns in, made in the same way
    every : steps of the agent's life between two evaluations
    episodes, deterministic, seed, max_steps : see `Agent.evaluate`. The same seed gives each evaluation the same
        episodes
    folder : of `evaluations.csv` and `best.npz`; by default that of the agent's log. With `log=None` and without a
        folder, nothing is written

    Attributes
    ----------
    steps, returns : list of the step of each evaluation, and of its returns (episodes,)
    best : the best mean return so far; NaN before the first evaluation

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type; in `learn`, before the first
        step, if `env` does not fit the agent, or is the one that the agent learns in

    Examples
    --------
    >>> import gymnasium
    >>> from rtu_np import ActorCritic, LinearRTU
    >>> env, other = gymnasium.make("CartPole-v1"), gymnasium.make("CartPole-v1")
    >>> evaluation = Evaluation(other, every=100, episodes=2)
    >>> _ = ActorCritic(env, LinearRTU(4)).learn(env, 250, progress=False, callback=evaluation, log=None)
    >>> evaluation.steps, evaluation.returns[0].shape
    ([100, 200], (2,))
    """

    def __init__(
        self,
        env: Any,
        every: int = 10_000,
        *,
        episodes: int = 10,
        deterministic: bool = True,
        seed: int | None = 0,
        max_steps: int | None = None,
        folder: str | os.PathLike | None = None,
    ) -> None:
        self.env, self.every = env, check_count("every", every)
        self._how = {"episodes": check_count("episodes", episodes), "seed": seed}
        self._how["deterministic"] = check_flag("deterministic", deterministic)
        self._how["max_steps"] = None if max_steps is None else check_count("max_steps", max_steps)
        self._given = folder
        self.steps: list[int] = []
        self.returns: list[np.ndarray] = []
        self.best = np.nan

    def check(self, agent: Any, env: Any, log: Any) -> None:
        """Whether this environment can be acted in while the agent learns in `env`."""
        agent._check_spaces(self.env)
        if innermost(self.env) is innermost(env):
            raise ValueError(
                "the env of Evaluation is the one that the agent learns in: expected another, made in the same way"
            )
        if self._given is not None and agent.steps == 0 and (_folder(self._given, agent) / "evaluations.csv").exists():
            raise ValueError(
                f"the folder of Evaluation, {os.fspath(self._given)!r}, holds evaluations of another run: expected an "
                "empty folder for a new agent"
            )

    def __call__(self, agent: Any) -> None:
        drawn = agent._acting_rng.bit_generator.state  # so that the agent's files do not depend on evaluations
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "max_steps is .* and only these are in the result", RuntimeWarning)
                returns = agent.evaluate(self.env, progress=False, **self._how)
        finally:
            agent._acting_rng.bit_generator.state = drawn
        table = self._table(agent)
        is_best = returns.size > 0 and not returns.mean() <= self.best
        self.steps.append(agent.steps)
        self.returns.append(returns)
        if is_best:
            self.best = float(returns.mean())
        if returns.size:
            agent.log_scalars({"eval/episodic_return": float(returns.mean())})
        if table is not None:
            if is_best:
                agent.save(table.path.parent / "best.npz")
            table.write([(agent.steps, *_row(returns), int(is_best))])
            table.close()

    def _table(self, agent: Any) -> Table | None:
        """`evaluations.csv`, with the rows of steps that the agent has made; None if nothing is to be written."""
        folder = _folder(self._given, agent)
        if folder is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        table = Table(folder / "evaluations.csv", _EVALUATIONS, agent.steps - 1)
        earlier = [float(row[_EVALUATIONS.index("mean")]) for row in table.rows if row[_EVALUATIONS.index("mean")]]
        self.best = max(earlier, default=np.nan)
        return table


def _row(returns: np.ndarray) -> tuple:
    """episodes, mean, low, high, smallest, largest; empty cells if no episode ended."""
    if returns.size == 0:
        return (0, "", "", "", "", "")
    numbers = returns.mean(), *interval(returns), returns.min(), returns.max()
    return (returns.size, *(repr(float(number)) for number in numbers))


class Checkpoints:
    """Store the agent every so many steps, and keep the latest of its files; `continue_run` goes on from the last.

    A checkpoint is a folder `checkpoints/step-...` in that of the log, with `agent.npz`. With a `snapshot`, it also
    holds the environment (`env.npz`), and learning goes on in the middle of the episode, with the bits of a run that
    nobody stopped. Without one, the run that continues begins with an episode.

    Parameters
    ----------
    every : steps of the agent's life between two checkpoints
    keep : how many are kept; older ones are deleted
    snapshot : `envs.snapshot`, for environments of this package, of MuJoCo and such whose state is in their attributes;
        or an object of your own with `capture(env)`, which returns (page for JSON, {name: array}), and
        `restore(env, (page, arrays))`
    folder : in which `checkpoints` stands; by default that of the agent's log. With `log=None`, it must be given

    Raises
    ------
    ValueError, TypeError : by name, for an argument out of its range or of the wrong type; in `learn`, if there is no
        folder, or if it holds the checkpoints of another run

    Examples
    --------
    >>> import gymnasium, tempfile
    >>> from rtu_np import ActorCritic, LinearRTU
    >>> env = gymnasium.make("CartPole-v1")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     agent, callback = ActorCritic(env, LinearRTU(4)), Checkpoints(every=100, keep=2)
    ...     _ = agent.learn(env, 450, progress=False, callback=callback, log=folder)
    ...     sorted(path.name for path in (Path(folder) / "checkpoints").iterdir())
    ['step-0000000300', 'step-0000000400']
    """

    def __init__(
        self,
        every: int = 10_000,
        keep: int = 3,
        snapshot: Any = None,
        folder: str | os.PathLike | None = None,
    ) -> None:
        self.every, self.keep = check_count("every", every), check_count("keep", keep)
        if snapshot is not None and not (hasattr(snapshot, "capture") and hasattr(snapshot, "restore")):
            raise TypeError(f"snapshot is {snapshot!r}: expected an object with capture and restore, or None")
        self._snapshot, self._given = snapshot, folder

    def check(self, agent: Any, env: Any, log: Any) -> None:
        """Whether there is a folder, and whether the environment can be captured."""
        self._env = env
        if self._given is None and log is None:
            raise ValueError("Checkpoints has no folder, since learn got log=None: expected folder=...")
        if self._snapshot is not None:
            self._snapshot.capture(env)
        if self._given is not None and agent.steps == 0 and list(_complete(Path(self._given).expanduser())):
            raise ValueError(
                f"the folder of Checkpoints, {os.fspath(self._given)!r}, holds those of another run: expected an empty "
                "folder for a new agent"
            )

    def __call__(self, agent: Any) -> None:
        folder = _folder(self._given, agent)
        place = folder / "checkpoints" / f"step-{agent.steps:010d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "agent.npz").unlink(missing_ok=True)  # which is written last, and makes a checkpoint complete
        if self._snapshot is not None:
            checkpoint.save(place / "env.npz", *self._snapshot.capture(self._env))
        agent.save(place / "agent.npz")
        complete = list(_complete(folder))
        present = [step for step, _ in complete if step <= agent.steps]
        for step, old in complete:
            if step in present[: -self.keep]:
                (old / "agent.npz").unlink()
                shutil.rmtree(old, ignore_errors=True)


def _complete(folder: Path) -> Iterator[tuple[int, Path]]:
    """(step, folder) of the checkpoints in the folder of a log, oldest first."""
    for place in sorted((folder / "checkpoints").glob("step-*")):
        match = _STEP.fullmatch(place.name)
        if match and (place / "agent.npz").exists():
            yield int(match.group(1)), place


def continue_run(folder: str | os.PathLike, env: Any = None, snapshot: Any = None, **given: Any) -> runs.Run:
    """(agent, env, steps) of a run that was stopped, as its latest checkpoint has them.

    `agent.learn(env, steps, log=folder, callback=...)` makes the rest of the run. With a `snapshot`, its bits are those
    of a run that nobody stopped.

    Parameters
    ----------
    folder : of the log, with `settings.json` and `checkpoints`
    env : the environment, if it cannot be made from `settings.json` (`make_again`)
    snapshot : what `Checkpoints` was given
    given : parts of the agent that are not of this package, by name: cell=...

    Raises
    ------
    ValueError : if there is no checkpoint that can be read, or if a part must be given; the message says which

    Examples
    --------
    >>> import envs, gymnasium, tempfile
    >>> from envs import snapshot
    >>> from rtu_np import LinearRTU, QLambda, continue_run
    >>> env = gymnasium.make("CartPole-v1")
    >>> agent, callback = QLambda(env, LinearRTU(4)), Checkpoints(every=100, snapshot=snapshot)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     whole = agent.learn(env, 250, progress=False, callback=callback, log=folder).returns
    ...     again, env, steps = continue_run(folder, snapshot=snapshot)
    ...     rest = again.learn(env, steps, progress=False, callback=callback, log=folder).returns
    >>> steps, bool((rest == whole[-rest.size:]).all())
    (50, True)
    """
    folder = Path(folder).expanduser()
    last, kind = runs.last_step(folder), runs.agent_kind(folder)
    env = runs.environment_of(folder) if env is None else env
    faults = []
    for step, place in reversed(list(_complete(folder))):
        try:
            agent = kind.load(place / "agent.npz", **given)
            if snapshot is not None:
                page = checkpoint.load(place / "env.npz")
                snapshot.restore(env, page)
                agent.resume(env)
        except (ValueError, FileNotFoundError) as error:
            faults.append(str(error))
            continue
        if faults:
            warnings.warn(f"goes on from step {step}, since {faults[0]}", RuntimeWarning, stacklevel=2)
        return runs.Run(agent, env, last - agent.steps)
    raise ValueError(
        f"log {os.fspath(folder)!r} has no checkpoint to go on from: expected those of the callback Checkpoints"
        f"{': ' + faults[0] if faults else ''}"
    )
