"""What the figures of experiments on prediction show, each in a sentence (`experiments.takeaways`)."""

from typing import Any

from experiments.engine.rows import Table, above, least, matching, most, of, overlap, short


@of("trace-conditioning")
def _laptop(t: Table) -> tuple[str, bool]:
    ratios = " and ".join(short(row["ratio"]) for row in t.values())
    text = f"RTUs learn to predict nearly as well as is possible: with {ratios} times the error of Bayes."
    return text, most(t, list(t), "high") < 1.25


@of("trace-conditioning", "overnight")
def _overnight(t: Table) -> tuple[str, bool]:
    ratios = " and ".join(short(row["ratio"]) for row in t.values())
    return f"An RTU near its best has {ratios} times the error of Bayes.", most(t, list(t), "high") < 1.1


@of("trace-conditioning", "paper")
def _paper(t: Table) -> tuple[str, bool]:
    narrow, wide = matching(t, "phases to 1"), matching(t, "phases to 6.28")
    text = (
        f"With phases up to 1 the error is {short(least(t, narrow, 'ratio'))} to {short(most(t, narrow, 'ratio'))} "
        f"times that of Bayes; with phases up to 6.28 it is {short(least(t, wide, 'ratio'))} to "
        f"{short(most(t, wide, 'ratio'))} times, and depends on the seed."
    )
    wider = all(
        t[b]["high"] - t[b]["low"] > 3 * (t[a]["high"] - t[a]["low"]) for a, b in zip(narrow, wide, strict=True)
    )
    return text, wider


@of("fig01-architectures")
def _fig01(t: Table) -> tuple[str, bool]:
    pairs = [(row, row.replace(": RTU", ": LRU")) for row in matching(t, ": RTU")]
    better = sum(above(t, lru, rtu) for rtu, lru in pairs)
    never = not any(above(t, rtu, lru) for rtu, lru in pairs)
    published = all(above(t, lru.replace(": LRU", ": LRU, published gradient"), lru) for _, lru in pairs)
    text = (
        f"The RTU is tied with the LRU at {len(pairs) - better} of {len(pairs)} points and better at {better}; the LRU "
        "with the published gradient is worse at all."
    )
    return text, never and published


@of("fig02-resources")
def _fig02(t: Table) -> tuple[str, bool]:
    rtu, others = "a: equal operations: RTU, RTRL", matching(t, "a: equal operations", "T-BPTT")
    apart = sum(above(t, other, rtu) for other in others)
    text = (
        f"At equal operations (a) the RTU with RTRL has a smaller mean error than LRU and GRU with T-BPTT at every T; "
        f"intervals are apart at {apart} of {len(others)} points, so that is *open*."
    )
    return text, all(t[other]["MSRE"] > t[rtu]["MSRE"] for other in others) and apart < len(others)


@of("fig03-runtime")
def _fig03(t: Table) -> tuple[str, bool]:
    exact, truncated = t["RTU, RTRL, against T"], t["RTU, T-BPTT, against T"]
    text = (
        f"A step of an RTU takes {short(exact['us, largest'])} us with RTRL, whatever the past; with T-BPTT "
        f"{short(truncated['us, smallest'])} us at T = 1 and {short(truncated['us, largest'])} us at T = 256."
    )
    return text, exact["us, largest"] < truncated["us, smallest"] < truncated["us, largest"]


@of("fig08-three-state")
def _fig08(t: Table) -> tuple[str, bool]:
    rnns = matching(t, "vanilla RNN")
    text = (
        f"A vanilla RNN gives more than 99.9 % right answers with "
        f"{short(least(t, rnns, 'complex at last'))} to {short(most(t, rnns, 'complex at last'))} complex eigenvalues "
        "on average, where more than 1.5 were claimed."
    )
    return text, most(t, rnns, "complex, high") < 1.5 and least(t, rnns, "percent correct") > 99.9


@of("fig09-parameterizations")
def _fig09(t: Table) -> tuple[str, bool]:
    both, stored_nu = matching(t, "nu_log/theta_log"), matching(t, "nu/theta")
    best = min(t, key=lambda row: t[row]["MSRE"])
    fails = [row for row in stored_nu if t[row]["step size"] >= 1e-4]
    text = (
        f"Two logarithms have the smallest error, {short(t[best]['MSRE'])} at step size {t[best]['step size']:g}; with "
        "nu itself every run diverges from 1e-4 on."
    )
    return text, best in both and all(t[row]["diverged"] == t[row]["seeds"] for row in fails)


@of("fig11-block-diagonal")
def _fig11(t: Table) -> tuple[str, bool]:
    pairs = [(row, row.replace("linear RTU", "block-diagonal RNN")) for row in matching(t, ": linear RTU")]
    apart = sum(above(t, other, rtu) for rtu, other in pairs)
    text = (
        f"At equal parameters the linear RTU's error is below the block-diagonal RNN's, intervals apart, at {apart} of "
        f"{len(pairs)} points: *open* at the others."
    )
    return text, apart < len(pairs) and not any(above(t, rtu, other) for rtu, other in pairs)


@of("fig12-rtu-bptt")
def _fig12(t: Table) -> tuple[str, bool]:
    shortest, longest = (t[f"linear RTU: T-BPTT, {T}"]["MSRE"] for T in (1, 32))
    exact = t["linear RTU: RTRL"]["MSRE"]
    text = (
        f"T-BPTT's error falls as the window grows, from {short(shortest)} at T = 1 to {short(longest)} at T = 32 for "
        f"the linear RTU; RTRL has {short(exact)}."
    )
    return text, shortest > longest > exact and above(t, "linear RTU: T-BPTT, 1", "linear RTU: T-BPTT, 32")


@of("fig16-step-sizes")
def _fig16(t: Table) -> tuple[str, bool]:
    best: dict[str, str] = {}
    for row in t:
        curve = row.rpartition(", ")[0]
        best[curve] = min(best.get(curve, row), row, key=lambda each: t[each]["MSRE"])
    at = sum(row.endswith(", 0.001") for row in best.values())
    level = not any(above(t, f"{curve}, 0.001", row) for curve, row in best.items())
    text = f"Step size 1e-3 is the best for {at} of {len(best)} cells from 8 to 128 units, and as good for the others."
    return text, level


@of("patterning")
def _patterning(t: Table) -> tuple[str, bool]:
    tasks = ("trace patterning, ISI 10", "noisy patterning")
    fixed = {task: min(matching(t, task, "hidden layer"), key=lambda row: t[row]["MSRE"]) for task in tasks}
    gru = all(above(t, fixed[task], f"{task}: GRU, T-BPTT(16), 8") for task in tasks)
    rtu = all(overlap(t, fixed[task], f"{task}: nonlinear RTU, 16") for task in tasks)
    text = (
        "A GRU with T-BPTT(16) is nearer to Bayes than the best fixed memory on both tasks; for 16 nonlinear RTUs that "
        "is *open*, since intervals overlap."
    )
    return text, gru and rtu


@of("staleness")
def _staleness(t: Table) -> tuple[str, bool]:
    kinds = ("nonlinear RTU", "linear RTU")
    small, large = ([t[f"{kind}, step size {size}"]["degrees"] for kind in kinds] for size in ("0.0003", "0.003"))
    text = (
        f"At step size 3e-4 the gradient that RTRL carries is {short(small[0])} and {short(small[1])} degrees from "
        f"today's (nonlinear, linear RTU); at 3e-3 it is {short(large[0])} and {short(large[1])} degrees."
    )
    return text, max(small) < 1 and min(large) > 60


@of("approximations")
def _approximations(t: Table) -> tuple[str, bool]:
    rows = matching(t, "learning: ")
    best, worst = (choose(rows, key=lambda row: t[row]["ratio to floor"]) for choose in (min, max))
    named = [f"{row.removeprefix('learning: ')} ({short(t[row]['ratio to floor'])})" for row in (best, worst)]
    text = (
        f"At equal compute {named[0]} learns most and {named[1]} least, by error / Bayes floor: an approximate "
        "gradient of a dense cell learns more than its exact one."
    )
    holds = "SnAp-1" in best and worst.endswith(", RTRL") and all(above(t, row, best) for row in rows if row != best)
    return text, holds


@of("two-layers")
def _two_layers(t: Table) -> tuple[str, bool]:
    tasks = [row.partition(":")[0] for row in matching(t, ": exact RTRL")]
    other = "layer-local RTRL"
    below = [task for task in tasks if above(t, _row(t, task, other), _row(t, task, "exact RTRL"))]
    over = [task for task in tasks if above(t, _row(t, task, "exact RTRL"), _row(t, task, other))]
    even = [task for task in tasks if task not in (*below, *over)]
    ways = {"below that": below, "above that": over, "not apart from that": even}
    said = [f"{way} with the layer-local one on {' and '.join(found)}" for way, found in ways.items() if found]
    return f"The error with the exact gradient is {'; '.join(said)}{' (*open*)' if even else ''}.", bool(tasks)


def _row(t: Table, task: str, method: str) -> str:
    return next(row for row in t if row.startswith(f"{task}: {method}"))


@of("credit")
def _credit(t: Table) -> tuple[str, bool]:
    after = {
        name: t[f"linear RTU, after learning: {name}"]["lag 39"] for name in ("RTRL", "T-BPTT(1), traces", "T-BPTT(4)")
    }
    text = (
        f"An input 39 steps back has {short(after['RTRL'])} of the newest one's weight with RTRL, "
        f"{short(after['T-BPTT(1), traces'])} with traces alone, and none with T-BPTT(4) (linear RTU, after learning)."
    )
    return text, after["RTRL"] > 100 * after["T-BPTT(1), traces"] and after["T-BPTT(4)"] == 0


@of("nexting-glucose")
def _glucose(t: Table) -> tuple[str, bool]:
    ratios = [row[f"{minutes} min / last"] for row in t.values() for minutes in (15, 30, 60, 120)]
    text = (
        f"Every learner predicts better than the last value does, at every horizon: with {short(min(ratios))} to "
        f"{short(max(ratios))} times its error."
    )
    return text, max(ratios) < 1


@of("nexting-machine")
def _machine(t: Table) -> tuple[str, bool]:
    skilled = [name for name, row in t.items() if row["skill, 1 s"] > 0]
    text = (
        f"In the second half of five minutes the next second is predicted better than by the last value for "
        f"{len(skilled)} of {len(t)} counters: {'; '.join(skilled)}."
    )
    return text, 0 < len(skilled) < len(t)


@of("timing", "timing")
def _timing(page: Any) -> tuple[str, bool]:
    us = {row["cell"]: row["ns_per_step"] / 1e3 for row in page["timings"]}
    small, large = us["LinearRTU(n_hidden=10)"], us["LinearRTU(n_hidden=512)"]
    return f"A learning step of 10 RTUs takes {small:.2f} us and one of 512 takes {large:.1f} us.", small < large
