"""What the figures of experiments on control show, each in a sentence (`experiments.takeaways`)."""

from itertools import combinations

from envs import ceilings
from experiments.engine.rows import Table, above, least, matching, most, of, overlap, short
from experiments.engine.verdicts import MIN_SEEDS


def _tasks(t: Table) -> list[str]:
    return list(dict.fromkeys(row.partition(": ")[0] for row in t))


def _best(t: Table, task: str) -> str:
    """The row of the task with the largest mean return."""
    return max(matching(t, f"{task}: "), key=lambda row: t[row]["return"])


@of("fig04-mujoco", "long")
def _fig04(t: Table) -> tuple[str, bool]:
    tasks = _tasks(t)
    ahead = sum("RTU" in _best(t, task) for task in tasks)
    pairs = [
        (rtu, other)
        for task in tasks
        for rtu in matching(t, f"{task}: ", "RTU")
        for other in matching(t, f"{task}: ")
        if "RTU" not in other
    ]
    apart, against = (sum(above(t, *pair[::order]) for pair in pairs) for order in (1, -1))
    text = (
        f"An RTU has the largest mean return on {ahead} of {len(tasks)} tasks. Of {len(pairs)} comparisons of an RTU "
        f"with an LRU or a GRU {apart} are for the RTU, intervals apart, and {against} against it."
    )
    return text, least(t, list(t), "seeds") >= MIN_SEEDS


@of("fig05-reacher", "long")
def _fig05(t: Table) -> tuple[str, bool]:
    least_one, most_one = least(t, list(t), "return"), most(t, list(t), "return")
    without = ceilings.reacher_pomdp().without
    text = (
        f"In 300,000 steps no cell learns the arm: returns are from {short(least_one)} to {short(most_one)}, and "
        f"{short(without)} is the best without memory. *Open.*"
    )
    return text, most(t, list(t), "high") < without


@of("fig05-reacher", "large")
def _fig05_large(t: Table) -> tuple[str, bool]:
    pairs = {
        cell: [f"ReacherPOMDP: {cell}, {way}" for way in ("RTRL", "T-BPTT(8)")] for cell in ("linear RTU", "minGRU")
    }
    given = " and ".join(
        f"{short(t[exact]['return'])} against {short(t[truncated]['return'])} ({cell})"
        for cell, (exact, truncated) in pairs.items()
    )
    text = f"With longer rollouts the arm is learned with RTRL, and hardly with T-BPTT(8): {given}."
    return text, all(above(t, *pair) for pair in pairs.values()) and all(
        t[pair[0]]["low"] > ceilings.reacher_pomdp().without for pair in pairs.values()
    )


@of("fig06-popgym", "long")
def _fig06(t: Table) -> tuple[str, bool]:
    tasks = _tasks(t)
    ahead = sum("RTU" in _best(t, task) for task in tasks)
    behind = [
        task
        for task in tasks
        if any(above(t, row, rtu) for rtu in matching(t, task, "RTU") for row in matching(t, task) if "RTU" not in row)
    ]
    where = (
        f"on {' and '.join(behind)} one of the two RTUs is below another cell" if behind else "none is below another"
    )
    return f"An RTU has the largest mean return on {ahead} of {len(tasks)} tasks; {where}, intervals apart.", True


@of("fig18-staleness", "long")
def _fig18(t: Table) -> tuple[str, bool]:
    pairs = [
        (f"Ant-P: stale gradients, {kind} targets", f"Ant-P: fresh gradients, {kind} targets")
        for kind in ("stale", "fresh")
    ]
    given = " and ".join(f"{short(t[stale]['return'])} against {short(t[fresh]['return'])}" for stale, fresh in pairs)
    text = f"Mean returns are lower with stale gradients than with fresh ones, {given}, and intervals overlap: *open*."
    less = all(t[stale]["return"] < t[fresh]["return"] for stale, fresh in pairs)
    return text, less and all(overlap(t, *pair) for pair in pairs)


@of("memory-chain")
def _chain(t: Table) -> tuple[str, bool]:
    exact, truncated = (matching(t, f"RTU, {gradient}", "length 128") for gradient in ("RTRL,", "T-BPTT(1),"))
    exact, truncated = ([row for row in rows if row.startswith("RTU")] for rows in (exact, truncated))
    seeds = least(t, [*exact, *truncated], "seeds")
    text = (
        f"RTUs with RTRL keep a bit for 128 steps on {least(t, exact, 'seeds that learn'):.0f} of {seeds:.0f} seeds, "
        f"and with T-BPTT(1) on {most(t, truncated, 'seeds that learn'):.0f} at most."
    )
    return text, all(above(t, a, b, "greedy") for a, b in zip(exact, truncated, strict=True))


@of("memory-chain", "longer")
def _longer(t: Table) -> tuple[str, bool]:
    exact, truncated = matching(t, "RTRL"), matching(t, "T-BPTT(1)")
    counts = [" and ".join(f"{t[row]['seeds that learn']:.0f}" for row in rows) for rows in (exact, truncated)]
    apart = [above(t, a, b, "greedy") for a, b in zip(exact, truncated, strict=True)]
    seeds = least(t, [*exact, *truncated], "seeds")
    text = (
        f"With two million steps RTUs learn a chain of 256 with RTRL on {counts[0]} of {seeds:.0f} seeds, with "
        f"T-BPTT(1) on {counts[1]}: intervals are apart with lambda .95, and with .8 it is *open*."
    )
    return text, apart == [False, True]


@of("defaults", "memory")
def _memory(t: Table) -> tuple[str, bool]:
    easy, maze = matching(t, "RepeatPreviousEasy"), {row: t[row]["seeds that learn"] for row in matching(t, "TMaze")}
    counts = ", ".join(f"{maze[f'TMaze: {agent}']:.0f} ({agent})" for agent in ("ActorCritic", "QLambda", "PPO"))
    seeds, learned = least(t, list(t), "seeds"), least(t, easy, "seeds that learn")
    text = (
        f"Without further arguments all agents learn RepeatPrevious on {learned:.0f} of {seeds:.0f} seeds or more; the "
        f"T-maze in 80,000 steps on {counts}."
    )
    return text, learned >= 0.9 * seeds


@of("defaults", "robots")
def _robots(t: Table) -> tuple[str, bool]:
    now = matching(t, ": defaults")
    higher = [row.partition(":")[0] for row in now if t[row]["change low"] > 0]
    worse = [row for row in now if t[row]["change high"] < -5]
    text = (
        f"On the same seeds, today's defaults of `ActorCritic` learn more than the earlier ones on "
        f"{', '.join(higher)}, intervals above 0; on none of the {len(now)} robots the difference lies below -5 %."
    )
    return text, bool(higher) and not worse


def _reach_pays(t: Table, exact: str, truncated: str) -> tuple[list[str], list[str]]:
    """The tasks on which RTRL is above T-BPTT(1), and those that are undecided."""
    tasks = _tasks(t)
    apart = [task for task in tasks if above(t, f"{task}: {exact}", f"{task}: {truncated}")]
    even = [task for task in tasks if overlap(t, f"{task}: {exact}", f"{task}: {truncated}")]
    return apart, even


@of("stream-memory", "long")
def _stream_memory(t: Table) -> tuple[str, bool]:
    apart, even = _reach_pays(t, "Blocks: RTU, RTRL", "Blocks: RTU, T-BPTT(1)")
    pairs = [(row, row.replace("RTRL", "T-BPTT(1)")) for row in matching(t, ", RTRL")]
    ahead = sum(above(t, *pair) for pair in pairs)
    behind = sum(above(t, *reversed(pair)) for pair in pairs)
    text = (
        f"RTUs with RTRL and `Blocks` are above those with T-BPTT(1) on {' and '.join(apart)}; on the other "
        f"{len(even)} tasks it is *open*. Over both rules and three cells, RTRL is above on {ahead} of {len(pairs)} "
        f"comparisons, and below on {behind}."
    )
    return text, len(apart) + len(even) == len({row.partition(":")[0] for row in t}) and bool(apart)


@of("stream-memory", "reacher")
def _arm_of_two_links(t: Table) -> tuple[str, bool]:
    exact, truncated, none = (f"ReacherPOMDP: {arm}" for arm in ("MinGRU, RTRL", "MinGRU, T-BPTT(1)", "feedforward"))
    without = t[exact]["without memory"]
    text = (
        f"MinGRUs with RTRL learn to keep the goal: {short(t[exact]['return'])}, where {short(without)} is the best "
        f"without memory. With T-BPTT(1) they have {short(t[truncated]['return'])}, and a network without memory "
        f"{short(t[none]['return'])}."
    )
    return text, all(above(t, exact, row) for row in (truncated, none)) and t[exact]["low"] > without


@of("stream-units")
def _units(t: Table) -> tuple[str, bool]:
    sizes = sorted({int(row.split()[-2]) for row in t})
    rows = {n: tuple(f"RepeatPreviousEasy: {gradient}, {n} units" for gradient in ("RTRL", "T-BPTT(1)")) for n in sizes}
    apart = [n for n in sizes if above(t, *rows[n])]
    gap = {n: t[rows[n][0]]["return"] - t[rows[n][1]]["return"] for n in sizes}
    widest = max(sizes, key=lambda n: gap[n])
    text = (
        f"RTRL is above T-BPTT(1), intervals apart, at each size from {sizes[0]} to {sizes[-1]} units; by most, "
        f"{short(gap[widest])}, with {widest}. With 16 it is above T-BPTT(1) with 64."
    )
    return text, apart == sizes and above(t, rows[16][0], rows[64][1])


@of("stream-popgym")
@of("stream-mujoco")
def _never_below(t: Table) -> tuple[str, bool]:
    apart, even = _reach_pays(t, "RTU, RTRL", "RTU, T-BPTT(1)")
    tasks = {row.partition(":")[0] for row in t}
    text = f"RTRL is above T-BPTT(1) on {' and '.join(apart)}; on the other {len(even)} tasks it is *open*."
    return text, len(apart) + len(even) == len(tasks) and bool(apart) and bool(even)


@of("stream-mujoco", "arm")
def _arm(t: Table) -> tuple[str, bool]:
    exact, truncated = (f"ReacherPOMDP-MuJoCo: MinGRU, {gradient}" for gradient in ("RTRL", "T-BPTT(1)"))
    apart = above(t, exact, truncated)
    verdict = "intervals are apart" if apart else "intervals overlap: *open*"
    returns = [short(t[row]["return"]) for row in (exact, truncated)]
    text = f"MinGRUs have {returns[0]} with RTRL and {returns[1]} with T-BPTT(1): {verdict}."
    return text, not above(t, truncated, exact)


@of("stream-pendulum")
def _stream_pendulum(t: Table) -> tuple[str, bool]:
    rtus = [f"InvertedPendulum-P: RTU, {gradient}" for gradient in ("RTRL", "T-BPTT(1)")]
    others = [row for row in t if row not in rtus]
    long, brief = (" and ".join(short(t[row]["return"]) for row in rows) for rows in (rtus, others))
    text = (
        f"RTUs keep the pole up for {long} steps (RTRL, T-BPTT(1)), GRU and feedforward network for {brief}: the cell "
        "matters, and the gradient does not."
    )
    return text, overlap(t, *rtus) and all(above(t, row, other) for row in rtus for other in others)


@of("reach")
def _reach(t: Table) -> tuple[str, bool]:
    arms = ("RTRL", "T-BPTT(1)", "frozen")
    even = [[f"{task}: {arm}" for arm in arms] for task in ("ReacherPOMDP", "MemoryChain", "KMemoryChain")]
    text = (
        "On the arm and the two chains the returns with RTRL, with T-BPTT(1) and with a layer that does not learn are "
        "not apart, so reach does not show there; on KMemoryChain and the T-maze the layer moves more with RTRL."
    )
    moved = all(
        t[f"{task}: RTRL"]["moved, low"] > t[f"{task}: T-BPTT(1)"]["moved, high"] for task in ("KMemoryChain", "TMaze")
    )
    return text, moved and all(overlap(t, *pair) for rows in even for pair in combinations(rows, 2))


@of("reach", "apart")
def _reach_apart(t: Table) -> tuple[str, bool]:
    exact, truncated, frozen = (f"HalfCheetah-P: {arm}" for arm in ("RTRL", "T-BPTT(1)", "frozen"))
    of_frozen, of_exact, of_truncated = (t[row]["return"] for row in (frozen, exact, truncated))
    text = (
        f"On HalfCheetah-P a layer that does not learn has {short(of_frozen)}, between RTRL, {short(of_exact)}, and "
        f"T-BPTT(1), {short(of_truncated)}; its interval overlaps with both, and theirs are apart."
    )
    level = overlap(t, frozen, exact) and overlap(t, frozen, truncated)
    return text, of_exact > of_frozen > of_truncated and above(t, exact, truncated) and level


@of("reach", "robots")
def _reach_of_robots(t: Table) -> tuple[str, bool]:
    robots = _tasks(t)
    text = (
        f"On none of the {len(robots)} robots are the returns with RTRL, with T-BPTT(1) and with a layer that does not "
        "learn apart, though the layer moves: that it learns is not seen to matter at this length."
    )
    level = all(
        overlap(t, row, other) for robot in robots for row in matching(t, robot) for other in matching(t, robot)
    )
    moved = all(t[row]["moved, low"] > 0.01 for row in t if "frozen" not in row)
    return text, level and moved
