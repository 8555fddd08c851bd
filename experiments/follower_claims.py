"""Claims of the paper's followers, and our own, with the comparisons of our numbers that decide each.

`python -m experiments.claims` makes docs/claims.md from them. To add one, write a `Claim`: its text, its source, the
experiment whose table in docs/results has the numbers, and the comparisons between rows of this table. {name} in a row
stands for any text without commas and colons; on both sides of a comparison it stands for the same text.
`experiments.engine.verdicts` has the rule of the verdict.
"""

from experiments.engine.verdicts import Claim, Measure, compare

RETURN, ERROR, DEGREES = Measure("return"), Measure("MSRE"), Measure("degrees")
WEIGHT_4, WEIGHT_39 = (Measure(column, None, None) for column in ("lag 4", "lag 39"))
ABOVE_EXACT = Measure("above exact", "above exact, low", "above exact, high")
GREEDY, LEARNED = Measure("greedy", "greedy low", "greedy high"), Measure("seeds that learn", None, None)

CLAIMS = [
    Claim(
        "Streaming Q(lambda) on the memory chain: an RTU with RTRL keeps a greedy return above .9 up to length 128",
        "Farr et al. 2026",
        "memory-chain",
        compare(GREEDY, *((f"RTU, RTRL, lambda {{lambda}}, length {n}", "above", 0.9) for n in (32, 64, 128))),
        remark="the published result is of another cell; at the start no unit keeps a tenth of a cue for 128 steps",
    ),
    Claim(
        "A memory of 128 steps is learned: on 9 seeds of 10 or more, an RTU with RTRL has a greedy return of .9",
        "this package",
        "memory-chain",
        compare(LEARNED, ("RTU, RTRL, lambda {lambda}, length 128", "not below", 9)),
    ),
    Claim(
        "A memory of 128 steps is learned by a minGRU as well, with RTRL, on 9 seeds of 10 or more",
        "this package",
        "memory-chain",
        compare(LEARNED, ("MinGRU, RTRL, lambda {lambda}, length 128", "not below", 9)),
    ),
    Claim(
        "A memory of 256 steps is learned within 500,000 steps: an RTU with RTRL, on 9 seeds of 10 or more",
        "this package",
        "memory-chain",
        compare(LEARNED, ("RTU, RTRL, lambda {lambda}, length 256", "not below", 9)),
    ),
    *(
        Claim(
            f"On the memory chain T-BPTT(1) collapses by length {n}: greedy return below .9, RTU and minGRU",
            "Farr et al. 2026",
            "memory-chain",
            compare(GREEDY, (f"{{cell}}, T-BPTT(1), lambda {{lambda}}, length {n}", "below", 0.9)),
        )
        for n in (64, 128)
    ),
    Claim(
        "On the memory chain of length 128, RTRL is above T-BPTT(1) of the same cell in greedy return, RTU and minGRU",
        "Farr et al. 2026",
        "memory-chain",
        compare(
            GREEDY,
            ("{cell}, RTRL, lambda {lambda}, length 128", "above", "{cell}, T-BPTT(1), lambda {lambda}, length 128"),
        ),
    ),
    Claim(
        "On the memory chain of length 128, RTRL is above T-BPTT(1) of the same cell in the last tenth, RTU and minGRU",
        "this package",
        "memory-chain",
        compare(
            RETURN,
            ("{cell}, RTRL, lambda {lambda}, length 128", "above", "{cell}, T-BPTT(1), lambda {lambda}, length 128"),
        ),
    ),
    Claim(
        "Streaming on RepeatPrevious: RTRL is above T-BPTT(1) of the same network",
        "Lemmel and Grosu 2025, of another cell",
        "stream-memory",
        compare(
            RETURN, ("RepeatPreviousEasy: Blocks: RTU, RTRL", "above", "RepeatPreviousEasy: Blocks: RTU, T-BPTT(1)")
        ),
    ),
    Claim(
        "Streaming on tasks that need memory: RTRL is above T-BPTT(1) of the same network on most of the tasks",
        "open in the literature",
        "stream-memory",
        compare(RETURN, ("{task}: Blocks: RTU, RTRL", "above", "{task}: Blocks: RTU, T-BPTT(1)")),
        remark="64 RTUs, `Blocks`",
        most=True,
    ),
    Claim(
        "Streaming on tasks that need memory: RTRL is above T-BPTT(1) of the same network in most cases, of five "
        "tasks, three cells and two rules",
        "this package",
        "stream-memory",
        compare(RETURN, ("{task}: {rule}: {cell}, RTRL", "above", "{task}: {rule}: {cell}, T-BPTT(1)")),
        remark="rules and lambda were chosen with RTUs and RTRL, step sizes for each arm",
        most=True,
    ),
    Claim(
        "Streaming on tasks that need memory: RTRL is above T-BPTT(8) of the same network on most of the tasks",
        "this package",
        "stream-memory",
        compare(RETURN, ("{task}: Blocks: RTU, RTRL", "above", "{task}: Blocks: RTU, T-BPTT(8)")),
        remark="64 RTUs, `Blocks`",
        most=True,
    ),
    Claim(
        "Streaming on tasks that need memory: an RTU with RTRL is above a feedforward network",
        "this package",
        "stream-memory",
        compare(RETURN, ("{task}: Blocks: RTU, RTRL", "above", "{task}: Blocks: feedforward")),
        remark="`Blocks`; nothing learns the arm in 300,000 steps",
    ),
    Claim(
        "Streaming on an arm of two links that sees its goal once: a minGRU with RTRL is above the same network with "
        "T-BPTT(1), and above every arm that never sees its goal (at most 18.9)",
        "open in the literature",
        "stream-memory",
        compare(
            RETURN,
            ("ReacherPOMDP: MinGRU, RTRL", "above", "ReacherPOMDP: MinGRU, T-BPTT(1)"),
            ("ReacherPOMDP: MinGRU, RTRL", "above", "ReacherPOMDP: feedforward"),
            ("ReacherPOMDP: MinGRU, RTRL", "above", 18.9),
        ),
        remark="a perfect memory would have 74.5",
        preset="reacher",
    ),
    Claim(
        "Streaming on a robot, MuJoCo's arm that sees its target once: a minGRU with RTRL is above the same network "
        "with T-BPTT(1)",
        "open in the literature",
        "stream-mujoco",
        compare(RETURN, ("{task}: MinGRU, RTRL", "above", "{task}: MinGRU, T-BPTT(1)")),
        remark="after 300,000 steps; after 100,000, on five other seeds, intervals overlapped",
        preset="arm",
    ),
    Claim(
        "Streaming on RepeatPrevious: RTRL is above T-BPTT(1) of the same network at most sizes of the recurrent "
        "layer, of 2 to 64 RTUs",
        "this package",
        "stream-units",
        compare(RETURN, ("{task}: RTRL, {n} units", "above", "{task}: T-BPTT(1), {n} units")),
        most=True,
    ),
    Claim(
        "Streaming on masked robots: RTRL is above T-BPTT(1) of the same network on most of the tasks",
        "open in the literature",
        "stream-mujoco",
        compare(RETURN, ("{task}: RTU, RTRL", "above", "{task}: RTU, T-BPTT(1)")),
        most=True,
    ),
    Claim(
        "Streaming on robots without positions: RTRL is above T-BPTT(1) of the same network on most of the robots",
        "this package",
        "stream-mujoco",
        compare(RETURN, ("{robot}-V: RTU, RTRL", "above", "{robot}-V: RTU, T-BPTT(1)")),
        most=True,
        remark="positions are sums of many velocities",
    ),
    Claim(
        "Streaming on robots without velocities: RTRL is not above T-BPTT(1) of the same network",
        "Merin 2026, of other tasks",
        "stream-mujoco",
        compare(RETURN, ("{robot}-P: RTU, RTRL", "not above", "{robot}-P: RTU, T-BPTT(1)")),
        remark="a velocity is the difference of two positions, so one step of memory is enough",
    ),
    Claim(
        "Streaming on masked robots: an RTU with RTRL is above a feedforward network on most of the tasks",
        "Farr et al. 2026",
        "stream-mujoco",
        compare(RETURN, ("{task}: feedforward", "below", "{task}: RTU, RTRL")),
        most=True,
    ),
    Claim(
        "Streaming on POPGym: RTRL is above T-BPTT(1) of the same network on most of the tasks",
        "open in the literature",
        "stream-popgym",
        compare(RETURN, ("{task}: RTU, RTRL", "above", "{task}: RTU, T-BPTT(1)")),
        most=True,
    ),
    Claim(
        "Streaming on POPGym: an RTU with RTRL is above a feedforward network on most of the tasks",
        "this package",
        "stream-popgym",
        compare(RETURN, ("{task}: RTU, RTRL", "above", "{task}: feedforward")),
        most=True,
        remark="both get the previous action and reward",
    ),
    Claim(
        "PPO on an arm that sees its goal once: RTRL is above T-BPTT(8) of the same network, for linear RTUs, LRUs and "
        "minGRUs",
        "this package",
        "fig05-reacher",
        compare(
            RETURN,
            *(
                (f"{{task}}: {cell}, RTRL", "above", f"{{task}}: {cell}, T-BPTT(8)")
                for cell in ("linear RTU", "LRU", "minGRU")
            ),
        ),
        preset="large",
    ),
    Claim(
        "If one step of memory is enough, T-BPTT(1) learns as well as RTRL: a pole without velocities, streaming",
        "Merin 2026, of other tasks",
        "stream-pendulum",
        compare(RETURN, ("{task}: RTU, T-BPTT(1)", "level with", "{task}: RTU, RTRL")),
    ),
    Claim(
        "On a pole without velocities, streaming, a network with memory is above a feedforward one, be it RTU or GRU",
        "this package",
        "stream-pendulum",
        compare(
            RETURN,
            ("{task}: RTU, {gradient}", "above", "{task}: feedforward"),
            ("{task}: GRU, T-BPTT(1)", "above", "{task}: feedforward"),
        ),
    ),
    Claim(
        "A carried gradient is within 10 degrees of today's at step size 3e-4, and the angle grows with the step size",
        "error bounds of stale sensitivities",
        "staleness",
        compare(
            DEGREES,
            ("{cell}, step size 0.0003", "below", 10.0),
            ("{cell}, step size 0.003", "above", "{cell}, step size 0.0003"),
        ),
    ),
    Claim(
        "The angle is larger with a longer memory, at step size 1e-3",
        "this package",
        "staleness",
        compare(DEGREES, ("linear RTU, r from .9, step size 0.001", "above", "linear RTU, step size 0.001")),
    ),
    Claim(
        "T-BPTT(4) gives no weight to an input 4 steps back, and RTRL gives more to one 39 steps back than traces do",
        "this package",
        "credit",
        [
            *compare(WEIGHT_4, ("{cell}, {when} learning: T-BPTT(4)", "level with", 0.0)),
            *compare(WEIGHT_39, ("{cell}, after learning: RTRL", "above", "{cell}, after learning: T-BPTT(1), traces")),
        ],
    ),
    Claim(
        "Two layers of RTUs: on the same streams, layer-local RTRL has a larger error than exact RTRL, on three tasks",
        "this package",
        "two-layers",
        compare(ABOVE_EXACT, ("{task}: layer-local RTRL", "above", 0.0)),
        remark="errors of the same seeds are subtracted, since streams differ more than methods",
    ),
    Claim(
        "Where evidence about products of remembered bits is summed up, two layers are better than one as costly",
        "this package",
        "two-layers",
        compare(
            ABOVE_EXACT,
            *(
                (f"{task}: one layer, as many {what}, {{n}}", "above", 0.0)
                for task in ("running", "held")
                for what in ("parameters", "operations")
            ),
        ),
    ),
    Claim(
        "A state that is learned predicts better than any fixed memory: trace patterning",
        "this package, on Rafiee et al. 2022",
        "patterning",
        compare(
            ERROR,
            *(
                ("trace patterning, ISI 10: nonlinear RTU, 16", "below", f"trace patterning, ISI 10: {fixed}")
                for fixed in ("tile-coded traces, hidden layer", "microstimuli, hidden layer")
            ),
        ),
    ),
    Claim(
        "A state that is learned predicts better than any fixed memory: noisy patterning",
        "this package, on Rafiee et al. 2022",
        "patterning",
        compare(
            ERROR,
            *(
                ("noisy patterning: nonlinear RTU, 16", "below", f"noisy patterning: {fixed}")
                for fixed in ("tile-coded traces, hidden layer", "microstimuli, hidden layer")
            ),
        ),
    ),
]
