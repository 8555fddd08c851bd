"""The best returns without memory and with perfect memory: computed again, in another way, and those of the page."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from envs import KMemoryChain, MemoryChain, ReacherPOMDP, TMaze, reacher_plans
from envs.ceilings import TASKS, ceilings

ROOT = Path(__file__).parent.parent
RESULTS = json.loads((ROOT / "docs" / "results" / "ceilings" / "ceilings.json").read_text())
PAGE = (ROOT / "docs" / "tasks.md").read_text()


# ----------------------------------------------------------------------------------- every policy of a small task


def episodes(env, n=200):
    """Seeds of episodes that begin differently, so often as they come: {what begins it: seed}."""
    found = {}
    for seed in range(n):
        env.reset(seed=seed)
        found.setdefault(tuple(env.state), seed)
    return list(found.values())


def best(env, starts, remember):
    """The best mean return of all deterministic policies, of what is seen now or of all seen so far; exact.

    A policy is made as its observations come: each that is new is tried with every action.
    """

    def value(policy):
        total = 0.0
        for seed in starts:
            seen = (tuple(env.reset(seed=seed)[0]),)
            over = False
            while not over:
                key = seen if remember else seen[-1]
                if key not in policy:
                    return None, key
                observation, reward, terminated, truncated, _ = env.step(policy[key])
                seen, over, total = (*seen, tuple(observation)), terminated or truncated, total + reward
        return total / len(starts), None

    found, policies = -np.inf, [{}]
    while policies:
        policy = policies.pop()
        mean, missing = value(policy)
        if missing is None:
            found = max(found, mean)
        else:
            policies += [{**policy, missing: action} for action in range(env.action_space.n)]
    return found


@pytest.mark.parametrize(
    ("task", "env", "settings"),
    [
        ("MemoryChain", MemoryChain, {"length": 1}),
        ("MemoryChain", MemoryChain, {"length": 2}),
        ("MemoryChain", MemoryChain, {"length": 1, "timing": "bsuite"}),
        ("MemoryChain", MemoryChain, {"length": 2, "timing": "bsuite"}),
        ("KMemoryChain", KMemoryChain, {"length": 1, "k": 1}),
        ("KMemoryChain", KMemoryChain, {"length": 1, "k": 1, "timing": "bsuite"}),
        ("KMemoryChain", KMemoryChain, {"length": 2, "k": 1, "timing": "bsuite"}),
    ],
)
def test_every_policy_of_a_small_chain(task, env, settings):
    chain = env(**settings)
    starts = episodes(chain)
    assert len(starts) == 2
    expected = ceilings(task, **settings)
    assert best(chain, starts, remember=False) == expected.without
    assert best(chain, starts, remember=True) == expected.perfect


@pytest.mark.parametrize("form", ["bakker", "cue"])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_every_policy_without_memory_in_a_maze(form, length):
    env = TMaze(length, form=form)
    starts = episodes(env)
    assert len(starts) == 2
    assert best(env, starts, remember=False) == pytest.approx(ceilings("TMaze", length=length, form=form).without)


def walker(env, form, seed):
    """The return of an agent that looks once, counts its steps, and turns."""
    look = env.reset(seed=seed)[0]
    forward, turns = (0, (1, 2)) if form == "cue" else (1, (0, 2))
    first = look[0] > 0 if form == "cue" else look[2] > look[0]
    total = sum(env.step(forward)[1] for _ in range(env.length))
    return total + env.step(turns[0] if first else turns[1])[1]


@pytest.mark.parametrize(("form", "noise"), [("bakker", 0), ("cue", 0.1), ("cue", 0.8), ("bakker", 0.8)])
def test_one_look_and_a_count(form, noise):
    env, n = TMaze(4, noise, form), 1500
    returns = np.array([walker(env, form, seed) for seed in range(n)])
    expected = ceilings("TMaze", length=4, noise=noise, form=form).perfect
    assert abs(returns.mean() - expected) <= 4 * returns.std() / np.sqrt(n) + 1e-9


def test_k_bits_are_guessed_or_remembered():
    for timing, length in itertools.product(("lag-free", "bsuite"), (1, 3)):
        env, returns = KMemoryChain(length, 4, timing), {True: [], False: []}
        for seed, remember in itertools.product(range(300), (True, False)):
            seen, over = [env.reset(seed=seed)[0]], False
            while not over:
                bits = seen[0 if remember else -1][5:]
                observation, reward, over, *_ = env.step(int(bits[seen[-1][1:5].argmax()] > 0))
                seen.append(observation)
            returns[remember].append(reward)
        expected = ceilings("KMemoryChain", length=length, k=4, timing=timing)
        assert np.mean(returns[True]) == expected.perfect
        assert abs(np.mean(returns[False]) - expected.without) < 0.25


# ------------------------------------------------------------------------------------------------------------- the arm


def played(begin, k, plan):
    """The rewards that the environment pays for a plan."""
    env = ReacherPOMDP()
    env.reset(seed=0)
    env.state[:6] = [*begin.theta[k], *begin.omega[k], *begin.goal[k]]
    return [env.step(action)[1] for action in plan]


def test_plans_pay_what_they_say():
    begin = reacher_plans.starts(64, seed=5)
    known, blind = reacher_plans.informed(begin), reacher_plans.uninformed(begin)
    for k in range(8):
        assert np.sum(played(begin, k, known.accelerations[k])) == pytest.approx(known.returns[k], abs=1e-9)
        elsewhere = [begin._replace(goal=np.roll(begin.goal, shift, axis=0)) for shift in range(40)]
        paid = [np.sum(played(other, k, blind.accelerations[k])) for other in elsewhere]
        assert abs(np.mean(paid) - blind.returns[k]) < 4 * np.std(paid) / np.sqrt(len(paid))
    assert (known.returns <= reacher_plans.bound(begin) + 1e-3).all()
    assert blind.returns.max() < reacher_plans.resting()
    for name, found in (("knows the goal", known), ("never sees the goal", blind)):
        mean, error = RESULTS["arm"][name]
        assert abs(found.returns.mean() - mean) < 4 * np.hypot(error, found.returns.std() / 8)
    assert (reacher_plans.bound(begin) - known.returns).mean() < 3


def test_quadratures_by_another_way():
    goals = np.random.default_rng(0).uniform(-2, 2, (400_000, 2))
    for point in ((0.0, 0.0), (0.7, -1.2)):
        paid = 100 * np.exp(-((goals - point) ** 2).sum(1))
        assert abs(paid.mean() - reacher_plans.resting(point)) < 4 * paid.std() / np.sqrt(len(paid))
    paid = 100 * np.exp(-(np.maximum(np.hypot(*goals.T) - 2, 0) ** 2))
    assert abs(paid.mean() - reacher_plans.nearest()) < 4 * paid.std() / np.sqrt(len(paid))
    assert round(reacher_plans.nearest()) == 98
    assert round(reacher_plans.resting()) == 19
    others = np.random.default_rng(1).uniform(-2, 2, (500, 2))
    assert max(map(reacher_plans.resting, others)) < reacher_plans.resting()


def test_the_arm_s_ceilings_are_those_that_were_measured():
    arm, expected = RESULTS["arm"], ceilings("ReacherPOMDP")
    assert expected.without == round(arm["never sees the goal"][0], 1)
    assert expected.perfect == round(arm["knows the goal"][0], 1)
    assert arm["knows the goal"][0] < arm["knows the goal, at most"][0]


# ------------------------------------------------------------------------------------------------------------ the page


def test_the_page_has_the_numbers_of_the_results():
    for task, settings, without, perfect in RESULTS["tasks"]:
        assert ceilings(task, **settings) == pytest.approx((without, perfect))
        words = ", ".join(f"{name} {value}" for name, value in settings.items())
        assert f"| {task} | {words} | {without:.4g} | {perfect:.4g} |" in PAGE
    for name, (mean, error) in RESULTS["arm"].items():
        assert f"| {name} | {mean:.2f}{f' ± {error:.2f}' if error else ''} |" in PAGE
    assert f"`{RESULTS['command']}`" in PAGE
    assert {task for task, *_ in RESULTS["tasks"]} == set(TASKS)
    assert all(re.search(rf"^## .*`{task}`", PAGE, re.MULTILINE) for task in TASKS)


def test_a_task_that_is_unknown():
    with pytest.raises(ValueError, match="task is 'Chess': expected one of 'MemoryChain'"):
        ceilings("Chess")


@pytest.mark.parametrize(
    ("task", "setting"),
    [("TMaze", {"length": 0}), ("TMaze", {"noise": -1.0}), ("MemoryChain", {"length": 0}), ("KMemoryChain", {"k": 0})],
)
def test_settings_that_no_task_has(task, setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))} is "):
        ceilings(task, **setting)
