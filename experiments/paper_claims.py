"""The claims of the paper, Elelimy et al. 2024, with the comparisons of our numbers that decide each.

`python -m experiments.claims` makes docs/claims.md from them. To add one, write a `Claim`: its text, its source, the
experiment whose table in docs/results has the numbers, and the comparisons between rows of this table. {name} in a row
stands for any text without commas and colons; on both sides of a comparison it stands for the same text.
`experiments.engine.verdicts` has the rule of the verdict.
"""

from experiments.engine.verdicts import Best, Claim, Measure, compare

RETURN, ERROR, RATIO = Measure("return"), Measure("MSRE"), Measure("ratio")
CORRECT = Measure("percent correct", "correct, low", "correct, high")
COMPLEX = Measure("complex at last", "complex, low", "complex, high")
KL = Measure("KL", "KL, low", "KL, high")
SLOPE, SLOWEST = (Measure(column, None, None, min_seeds=3) for column in ("slope", "us, largest"))
RTUS = ("nonlinear RTU, RTRL", "linear RTU, RTRL")

CLAIMS = [
    Claim(
        "An RTU with RTRL predicts nearly as well as the Bayes prediction: its error is less than a quarter larger",
        "Elelimy et al. 2024, Fig. 2, the dashed line",
        "trace-conditioning",
        compare(RATIO, ("linear RTU, ISI {isi}, phases to 1", "below", 1.25)),
        remark="16 units; phases from (0, 1], not (0, 6.28]",
    ),
    Claim(
        "With either cell in each of five architectures, the RTU's error is below the LRU's, or tied with it",
        "Elelimy et al. 2024, Fig. 1",
        "fig01-architectures",
        compare(ERROR, ("{architecture}: RTU, {n}", "not above", "{architecture}: LRU, {n}")),
    ),
    Claim(
        "The released gradient of the online LRU handicaps it",
        "this package, on Fig. 1",
        "fig01-architectures",
        compare(ERROR, ("{architecture}: LRU, published gradient, {n}", "above", "{architecture}: LRU, {n}")),
        remark="docs/derivations.md, Deviations",
    ),
    Claim(
        "At equal operations the RTU with RTRL is below LRU and GRU with T-BPTT, at every T",
        "Elelimy et al. 2024, Fig. 2a",
        "fig02-resources",
        compare(ERROR, ("a: equal operations: RTU, RTRL", "below", "a: equal operations: {cell}, T-BPTT, {T}")),
    ),
    Claim(
        "With as many units the RTU with RTRL is below LRU and GRU with T-BPTT, or tied, at every T",
        "Elelimy et al. 2024, Fig. 2b",
        "fig02-resources",
        compare(ERROR, ("b: equal units: RTU, RTRL", "not above", "b: equal units: {cell}, T-BPTT, {T}")),
    ),
    Claim(
        "With T = 16 and equal operations the RTU with RTRL is below LRU and GRU with T-BPTT",
        "Elelimy et al. 2024, Fig. 2c",
        "fig02-resources",
        compare(
            ERROR,
            (
                "c: equal operations, T = 16: {cell}, T-BPTT, {x}",
                "above",
                "c: equal operations, T = 16: RTU, RTRL, {x}",
            ),
        ),
    ),
    Claim(
        "With T = 16 and free operations the LRU catches up with the RTU at the largest size, and the GRU does not",
        "Elelimy et al. 2024, Fig. 2d",
        "fig02-resources",
        compare(
            ERROR,
            *(
                (
                    f"d: equal parameters, T = 16: {cell}, T-BPTT, 1664",
                    relation,
                    "d: equal parameters, T = 16: RTU, RTRL, 1664",
                )
                for cell, relation in (("LRU", "not above"), ("GRU", "above"))
            ),
        ),
    ),
    Claim(
        "On every step, the time of T-BPTT grows with T; that of RTRL has no T",
        "Elelimy et al. 2024, Fig. 3",
        "fig03-runtime",
        compare(SLOPE, ("{cell}, T-BPTT, against T", "above", 0.0)),
    ),
    Claim(
        "On every step, RTRL of a diagonal cell grows with n as T-BPTT does, to 10 % of the exponent; RTRL of a GRU "
        "grows faster than the cube of n",
        "Elelimy et al. 2024, Fig. 3",
        "fig03-runtime",
        compare(
            SLOPE,
            *(
                (f"{cell}, RTRL, against n", "not above", f"{cell}, T-BPTT(16), against n", 1.1)
                for cell in ("RTU", "LRU")
            ),
            ("GRU, RTRL, against n", "above", 3.0),
        ),
    ),
    Claim(
        "In batches, T-BPTT is cheaper than RTRL",
        "Elelimy et al. 2024, Fig. 3",
        "fig03-runtime",
        compare(
            SLOWEST,
            *(
                (f"{c}, T-BPTT, against T in batches", "below", f"{c}, RTRL, against T in batches")
                for c in ("RTU", "LRU")
            ),
        ),
    ),
    Claim(
        "PPO on masked robots: nonlinear and linear RTUs are above the LRU trained online",
        "Elelimy et al. 2024, Fig. 4",
        "fig04-mujoco",
        compare(RETURN, *((f"{{task}}: {rtu}", "above", "{task}: LRU, RTRL") for rtu in RTUS)),
        remark="the LRU has the right gradient here, and a wrong one in the released code; an RTU's network has twice "
        "as many parameters, as many of them recurrent",
    ),
    Claim(
        "PPO on masked robots: nonlinear and linear RTUs are above LRU and GRU with T-BPTT",
        "Elelimy et al. 2024, Fig. 4",
        "fig04-mujoco",
        compare(RETURN, *((f"{{task}}: {rtu}", "above", "{task}: {cell}, T-BPTT(8)") for rtu in RTUS)),
        remark="an RTU's network has twice as many parameters, as many of them recurrent",
    ),
    Claim(
        "PPO on an arm that sees its target once: the nonlinear RTU is above the linear one, the linear one is level "
        "with the GRU, and all three are above the LRU trained online",
        "Elelimy et al. 2024, Fig. 5",
        "fig05-reacher",
        compare(
            RETURN,
            ("{task}: nonlinear RTU, RTRL", "above", "{task}: linear RTU, RTRL"),
            ("{task}: linear RTU, RTRL", "level with", "{task}: GRU, T-BPTT(8)"),
            *((f"{{task}}: {rtu}", "above", "{task}: LRU, RTRL") for rtu in RTUS),
            ("{task}: GRU, T-BPTT(8)", "above", "{task}: LRU, RTRL"),
        ),
        remark="with longer rollouts than published, without which no cell learns it; the paper's definition of the "
        "task was not found",
        preset="large",
    ),
    Claim(
        "PPO on POPGym: nonlinear and linear RTUs are above LRU and GRU, or tied",
        "Elelimy et al. 2024, Fig. 6",
        "fig06-popgym",
        compare(
            RETURN,
            *(
                (f"{{task}}: {rtu}", "not below", f"{{task}}: {other}")
                for rtu in RTUS
                for other in ("LRU, RTRL", "{cell}, T-BPTT(8)")
            ),
        ),
        remark="two panels cannot be replicated by a correct environment. The released Autoencode shows zeros while "
        "cards are dealt, so no memory can help. The released CountRecall has two actions for counts up to 26, so "
        "its best possible return is -.849. Ours are right, and a flat curve there is no failed replication",
    ),
    Claim(
        "A vanilla RNN solves the three-state task",
        "Elelimy et al. 2024, Fig. 7 and 8",
        "fig08-three-state",
        compare(CORRECT, ("vanilla RNN, {n} units, {start} start", "above", 99.0)),
    ),
    Claim(
        "The weight matrix of a vanilla RNN that solves it has more than 1.5 complex eigenvalues on average",
        "Elelimy et al. 2024, Fig. 8",
        "fig08-three-state",
        compare(COMPLEX, ("vanilla RNN, {n} units, {start} start", "above", 1.5)),
        remark="the size and the start of the published networks are not known",
    ),
    Claim(
        "At its best step size, the parameterisation with both logarithms learns as well as any other",
        "Elelimy et al. 2024, Fig. 9",
        "fig09-parameterizations",
        compare(
            ERROR,
            *(
                (
                    Best("linear RTU, 80 units: nu_log/theta_log, {x}"),
                    "not above",
                    Best(f"linear RTU, 80 units: {other}, {{y}}"),
                )
                for other in ("nu_log/theta", "nu/theta", "r/theta")
            ),
        ),
    ),
    Claim(
        "The parameterisation with both logarithms learns over the widest range of step sizes: at none is it worse",
        "Elelimy et al. 2024, Fig. 9",
        "fig09-parameterizations",
        compare(
            ERROR, ("linear RTU, 80 units: nu_log/theta_log, {x}", "not above", "linear RTU, 80 units: {other}, {x}")
        ),
    ),
    Claim(
        "At equal parameters the linear RTU is below the block-diagonal RNN",
        "Elelimy et al. 2024, Fig. 11",
        "fig11-block-diagonal",
        compare(ERROR, ("{isi}: linear RTU, {n}", "below", "{isi}: block-diagonal RNN, {n}")),
    ),
    Claim(
        "At equal parameters the linear RTU is below the online LRU",
        "Elelimy et al. 2024, Fig. 11",
        "fig11-block-diagonal",
        compare(ERROR, ("{isi}: linear RTU, {n}", "below", "{isi}: LRU, {n}")),
        remark="the LRU has the right gradient here",
    ),
    Claim(
        "With T-BPTT the RTU's error falls as T grows",
        "Elelimy et al. 2024, Fig. 12",
        "fig12-rtu-bptt",
        compare(ERROR, ("{cell}: T-BPTT, 16", "below", "{cell}: T-BPTT, 1")),
    ),
    Claim(
        "Once T covers the interval between the stimuli, the error of T-BPTT is that of RTRL",
        "Elelimy et al. 2024, Fig. 12",
        "fig12-rtu-bptt",
        compare(ERROR, *((f"{{cell}}: T-BPTT, {T}", "level with", "{cell}: RTRL") for T in (16, 24, 32))),
    ),
    Claim(
        "RTUs learn well over a decade of step sizes, 3e-4 to 3e-3: the error is at most a quarter above the best",
        "Elelimy et al. 2024, Fig. 16 and 17",
        "fig16-step-sizes",
        compare(
            ERROR,
            *(
                (f"{{cell}}: {{n}} units, {x}", "not above", Best("{cell}: {n} units, {y}"), 1.25)
                for x in (0.0003, 0.003)
            ),
        ),
    ),
    Claim(
        "The best step size does not depend on the number of units: 1e-3 is as good as the best at every size",
        "Elelimy et al. 2024, Fig. 16 and 17",
        "fig16-step-sizes",
        compare(ERROR, ("{cell}: {n} units, 0.001", "not above", Best("{cell}: {n} units, {y}"))),
    ),
    Claim(
        "In PPO with RTRL, stale gradients give a higher return than fresh ones",
        "Elelimy et al. 2024, Fig. 18",
        "fig18-staleness",
        compare(
            RETURN,
            ("{task}: stale gradients, {targets} targets", "above", "{task}: fresh gradients, {targets} targets"),
        ),
    ),
    Claim(
        "In PPO with RTRL, an update goes less far with stale gradients, by its approximate KL divergence",
        "Elelimy et al. 2024, Fig. 18",
        "fig18-staleness",
        compare(
            KL, ("{task}: stale gradients, {targets} targets", "below", "{task}: fresh gradients, {targets} targets")
        ),
        remark="each has its own step size, and stale gradients with stale targets a smaller one than the others; "
        "docs/results.md compares equal ones",
    ),
]
