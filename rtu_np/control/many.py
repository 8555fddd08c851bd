"""Agents side by side: each learns in an environment of its own, in processes of this machine."""

import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import cpu_count

from rtu_np.control import agent_files, runs
from rtu_np.control.agent import Agent
from rtu_np.control.environments import check_free
from rtu_np.control.logs import EVERY
from rtu_np.control.loop import Episodes
from rtu_np.interrupts import HoldCtrlC
from rtu_np.intervals import curve, final, interval
from rtu_np.processes import in_processes
from rtu_np.progress import progress_bar
from rtu_np.validation import check_count

Envs = str | Callable[[], Any] | Sequence[Any]
_LOOK = 0.2  # seconds between two looks at how far the agents are
_OFTEN, _RARELY = 0.05, 0.4  # seconds between two reports of an agent
_STOP = -1  # place of the number by which agents are asked to stop


class Learned(NamedTuple):
    """The episodes of agents that learned side by side, and numbers over the seeds of each group."""

    episodes: list[Episodes]  # of each agent
    groups: dict[str, list[int]]  # {label: places of the group's agents}
    began: list[int]  # steps that each agent had made before
    steps: int  # that each agent was asked to make

    def curves(self, bins: int = 50) -> dict[str, np.ndarray]:
        """{label: (seeds, bins)} mean return of the episodes that ended in each part; NaN before the first end."""
        return {
            label: np.array([curve(*self._of(k), self.steps, bins) for k in places])
            for label, places in self.groups.items()
        }

    def final(self) -> dict[str, np.ndarray]:
        """{label: (seeds,)} mean return of the episodes that ended in the last tenth of the steps."""
        return {
            label: np.array([final(*self._of(k), self.steps) for k in places]) for label, places in self.groups.items()
        }

    def table(self) -> dict[str, dict[str, float]]:
        """{label: numbers} of `final`: seeds, mean, its 95 % bootstrap interval over seeds, smallest and largest."""
        table = {}
        for label, finals in self.final().items():
            low, high = interval(finals)
            numbers = {"seeds": finals.size, "mean": finals.mean(), "low": low, "high": high}
            numbers |= {"smallest": finals.min(), "largest": finals.max()}
            table[label] = {name: float(number) for name, number in numbers.items()}
        return table

    def _of(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self.episodes[k].steps - self.began[k], self.episodes[k].returns


def learn_many(
    agents: Sequence[Any] | Mapping[str, Sequence[Any]],
    envs: Envs,
    steps: int,
    *,
    n_processes: int | None = None,
    progress: bool = True,
    log: str | os.PathLike | None = None,
    log_every: int = EVERY,
) -> Learned:
    """Let several agents learn for `steps` steps each. The bits are those of `agent.learn` one by one.

    The agents themselves have learned then. Each begins an episode, also if it was in the middle of one. Environments
    stay in the processes, so the next call of `learn` begins an episode, too.

    Parameters
    ----------
    agents : a list of agents, all different; or {label: list}, whose groups get numbers of their own
    envs : a list with an environment for each agent; or an id, or a function without arguments that makes one
    steps : how many steps each agent learns for
    n_processes : how many agents learn at a time; by default one per core. If it is 1, this process does the work
    progress : whether to show a bar, on a terminal or in a notebook
    log : folder in which each agent gets a folder of its own, as of `learn`; None writes nothing
    log_every : steps between two rows of `learning.csv`

    Returns
    -------
    Learned : episodes, learning curves, and returns at the end with intervals over seeds

    Raises
    ------
    ValueError, TypeError : before any agent learns; the message names the argument
    RuntimeError : after all others have learned, if agents failed: it names each with its error, and carries the
        episodes as `result`
    KeyboardInterrupt : after Ctrl-C, within about a second. The agents have learned so far as they came, and `result`
        has their episodes

    Examples
    --------
    >>> import gymnasium
    >>> from rtu_np import LinearRTU, QLambda
    >>> env = gymnasium.make("CartPole-v1")
    >>> agents = {f"{n} units": [QLambda(env, LinearRTU(n), seed=seed) for seed in range(2)] for n in (2, 4)}
    >>> learned = learn_many(agents, "CartPole-v1", 300, n_processes=1)
    >>> list(learned.table()), learned.curves(bins=3)["2 units"].shape, agents["4 units"][1].steps
    (['2 units', '4 units'], (2, 3), 300)
    """
    everyone, groups = _grouped(agents)
    check_count("steps", steps)
    n = min(len(everyone), cpu_count() if n_processes is None else check_count("n_processes", n_processes))
    own = _environments(envs, everyone)
    began = [agent.steps for agent in everyone]
    episodes = [Episodes(np.zeros(0, int), np.zeros(0), np.zeros(0, int)) for _ in everyone]
    learned, failed = Learned(episodes, groups, began, steps), []

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        HoldCtrlC(lambda: learned, insists=True) as ctrl_c,
    ):
        counters = Path(folder) / "counters"
        np.zeros(len(everyone) + 1, np.int64).tofile(counters)
        here, registered = os.getpid(), _registered() if n > 1 else {}
        how = {"log_every": check_count("log_every", log_every), "log": log}
        jobs = [
            _Job(k, agent, env, steps, how, counters, here, registered)
            for k, (agent, env) in enumerate(zip(everyone, own, strict=True))
        ]
        with _watching(counters, steps * len(everyone), ctrl_c, progress) as counts:
            for job, answer in in_processes(_learn, jobs, n, lambda job: counts[job.k] > 0, hear_ctrl_c=False):
                agent = everyone[job.k]
                outcome = _Outcome(None, None, None, answer) if isinstance(answer, Exception) else answer
                if outcome.contents is not None:
                    agent_files.fill(agent, outcome.contents)
                agent._env, agent.log_folder = None, outcome.folder
                if outcome.episodes is not None:
                    episodes[job.k] = outcome.episodes
                if outcome.error is not None:
                    failed.append((job.k, outcome.error))
        if failed:
            _explain(sorted(failed, key=lambda pair: pair[0]), everyone)
    return learned


def _explain(failed: list[tuple[int, BaseException]], everyone: list[Any]) -> None:
    each = [f"agents[{k}], {everyone[k]!r} of seed {everyone[k].seed}: {type(e).__name__}: {e}" for k, e in failed]
    others = len(everyone) - len(failed)
    raise RuntimeError(f"{'; '.join(each)}. The other {others} agents have learned") from failed[0][1]


def _grouped(agents: Any) -> tuple[list[Any], dict[str, list[int]]]:
    """All agents, and the places of each group's agents."""
    lists = {label: list(group) for label, group in agents.items()} if isinstance(agents, Mapping) else None
    everyone = list(agents) if lists is None else [agent for group in lists.values() for agent in group]
    for k, agent in enumerate(everyone):
        if not isinstance(agent, Agent):
            raise TypeError(f"agents[{k}] is {agent!r}: expected an agent such as ActorCritic(env)")
        agent._check_open()
    different = len(set(map(id, everyone)))
    if not everyone or different < len(everyone):
        raise ValueError(
            f"agents holds {len(everyone)} agents, {different} different ones: expected one or more, all different"
        )
    if lists is None:
        return everyone, {"agents": list(range(len(everyone)))}
    if empty := [label for label, group in lists.items() if not group]:
        raise ValueError(f"agents[{empty[0]!r}] is empty: expected a list of agents")
    ends = np.cumsum([0, *map(len, lists.values())]).tolist()
    return everyone, {label: list(range(a, b)) for label, (a, b) in zip(lists, pairwise(ends), strict=True)}


def _environments(envs: Any, agents: list[Any]) -> list[Any]:
    """An environment for each agent, or what makes one in its process."""
    if isinstance(envs, str | type) or (callable(envs) and not hasattr(envs, "step")):
        import gymnasium

        make = _Make(gymnasium.spec(envs)) if isinstance(envs, str) else envs
        env = make()
        for k, agent in enumerate(agents):
            _check(agent, env, f"agents[{k}]: ")
        env.close()
        return [make] * len(agents)
    if not isinstance(envs, list | tuple) or len(envs) != len(agents):
        what = f"{len(envs)} of them" if isinstance(envs, list | tuple) else repr(envs)
        raise ValueError(
            f"envs is {what}: expected a list of {len(agents)} environments, one for each agent; an id such as "
            "'CartPole-v1'; or a function without arguments that makes an environment"
        )
    for k, (agent, env) in enumerate(zip(agents, envs, strict=True)):
        _check(agent, env, f"envs[{k}]: ")
        check_free(env)
    return list(envs)


def _check(agent: Any, env: Any, prefix: str) -> None:
    try:
        agent._check_spaces(env)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{prefix}{error}") from error


class _Make(NamedTuple):
    """Makes the environment of a spec, also in a process in which nobody has registered it."""

    spec: Any

    def __call__(self) -> Any:
        import gymnasium

        return gymnasium.make(self.spec)


class _Job(NamedTuple):
    """What one process works on."""

    k: int
    agent: Any
    env: Any
    steps: int
    how: dict[str, Any]
    counters: Path
    parent: int  # id of the process that asks
    registered: dict[str, bytes]


class _Outcome(NamedTuple):
    contents: Any  # of the agent; None if it learned in the process that asked
    episodes: Episodes | None
    folder: Path | None  # of its log
    error: BaseException | None


def _registered() -> dict[str, bytes]:
    """Environments that this process has registered beside Gymnasium's own, so that functions find them by id."""
    import gymnasium
    from joblib.externals.loky.backend.reduction import dumps

    found = {}
    for name, spec in gymnasium.registry.items():
        if not str(spec.entry_point).startswith("gymnasium."):
            try:
                found[name] = bytes(dumps(spec))
            except (TypeError, pickle.PicklingError):  # what holds an open file, for example
                continue
    return found


def _learn(job: _Job) -> _Outcome:
    """Learn, in the process that asked or in one of its own."""
    elsewhere, agent = os.getpid() != job.parent, job.agent
    counts = np.memmap(job.counters, np.int64, mode="r+")
    if elsewhere:
        import gymnasium

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows, where it cannot be blocked beforehand
        for name in job.registered.keys() - gymnasium.registry.keys():
            gymnasium.registry[name] = pickle.loads(job.registered[name])
    episodes, error = None, None
    if not counts[_STOP]:
        counts[job.k] = 1  # it has begun
        try:
            env = job.env if hasattr(job.env, "step") else job.env()
            log = job.how["log"]
            if log is not None:
                log = runs.new_folder(Path(log).expanduser(), runs.run_name(agent, env))
            how = {**job.how, "log": log, "progress": False}
            agent._env = None  # as in a process of its own, which is in no episode
            episodes = agent.learn(env, job.steps, callback=_Report(counts, job.k, agent.steps), **how)
        except Exception as raised:
            episodes, error = getattr(raised, "result", None), raised
    if not elsewhere:
        return _Outcome(None, episodes, agent.log_folder, error)
    return _Outcome(agent_files.contents(agent), episodes, agent.log_folder, _sendable(error))


def _sendable(error: Exception | None) -> Exception | None:
    """The error as it is, if another process can read it."""
    if error is None:
        return None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Report:
    """A callback that writes how far its agent is, a few times a second, and stops it when asked."""

    def __init__(self, counts: np.ndarray, k: int, began: int) -> None:
        self.every = 64
        self._counts, self._k, self._began, self._at = counts, k, began, time.perf_counter()

    def __call__(self, agent: Any) -> bool:
        self._counts[self._k] = agent.steps - self._began
        now = time.perf_counter()
        if now - self._at < _OFTEN and self.every < 1 << 20:
            self.every *= 2
        elif now - self._at > _RARELY and self.every > 16:
            self.every //= 2
        self._at = now
        return not self._counts[_STOP]


@contextmanager
def _watching(counters: Path, total: int, ctrl_c: HoldCtrlC, progress: bool) -> Iterator[np.ndarray]:
    """A thread that shows how far the agents are, and asks them to stop after Ctrl-C."""
    counts, over = np.memmap(counters, np.int64, mode="r+"), threading.Event()
    bar = progress_bar(total, progress, delay=1, unit="step", unit_scale=True, leave=None)
    shown = 0

    def show() -> None:
        nonlocal shown
        made = int(counts[:_STOP].sum())
        bar.update(made - shown)
        shown = made

    def poll() -> None:
        while not over.wait(_LOOK):
            show()
            if ctrl_c.asked:
                counts[_STOP] = 1

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield counts
    except BaseException:
        counts[_STOP] = 1
        raise
    finally:
        over.set()
        thread.join()
        show()
        bar.close()
