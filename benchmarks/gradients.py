"""The cost of carrying a gradient, and the error of approximating it.

    python benchmarks/gradients.py
    python benchmarks/gradients.py --only units

Real-time recurrent learning (RTRL) against the length of the past, truncated backpropagation through time (T-BPTT)
against its T, full RTRL against n units; then the angle between the exact gradient of a stack and layer-local RTRL or
T-BPTT.

Times are of TD(lambda) with SGD and a linear readout, `TDLambda.run`, float64, on one core: medians of several runs, in
microseconds of the processor per step, without those in which it works for others. Takes about four minutes; `--only`
makes some of the tables. docs/costs.md shows the output.
"""

import argparse
import time

import numpy as np
from tqdm import tqdm

from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    RTRL,
    SGD,
    TBPTT,
    BlockDiagonalRNN,
    GatedRTU,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    Stack,
    TDLambda,
    VanillaRNN,
    bytes_per_step,
    flops,
)
from rtu_np.gradcheck import gradient_angles

DIAGONAL = [LinearRTU(32), NonlinearRTU(32), GatedRTU(32), LRU(32), MinGRU(32), ELSTM(32), BlockDiagonalRNN(32)]
CELLS = [*DIAGONAL, VanillaRNN(32), GRU(32)]
N_INPUTS = 8
REPEATS = 7


def microseconds(learner: TDLambda, steps: int) -> float:
    observations = np.random.default_rng(0).standard_normal((steps, learner.n_inputs))
    cumulants = np.zeros(steps)
    learner.run(observations[:10], cumulants[:10], progress=False)
    took = []
    for _ in range(REPEATS):
        began = time.process_time()  # the processor's time: others may share the machine
        learner.run(observations, cumulants, progress=False)
        took.append((time.process_time() - began) / steps * 1e6)
    return float(np.median(took))


def learner(cell, gradient, n_inputs=N_INPUTS) -> TDLambda:
    return TDLambda(cell, n_inputs, optimizer=SGD(1e-6), gradient=gradient)


def name(cell) -> str:
    return type(cell).__name__


def fit(x, y) -> tuple[float, float, float]:
    """(slope, intercept, R squared) of a straight line."""
    slope, intercept = np.polyfit(x, y, 1)
    residual = np.var(np.asarray(y) - slope * np.asarray(x) - intercept)
    return slope, intercept, 1 - residual / np.var(y)


def counted(bar) -> None:
    methods = [RTRL(), TBPTT(1), TBPTT(10)]
    print("\nOperations and bytes per step, 32 units, 8 inputs, float64\n")
    print("| cell | parameters | RTRL | T-BPTT(1) | T-BPTT(10) |\n|---|---|---|---|---|")
    for cell in CELLS:
        parameters = sum(view.size for view in cell.build(N_INPUTS, TBPTT(1)).parameters.values())
        costs = [(flops(cell, N_INPUTS, m), bytes_per_step(cell, N_INPUTS, m)) for m in methods]
        row = " | ".join(f"{operations:,}; {moved:,}" for operations, moved in costs)
        print(f"| {name(cell)} | {parameters:,} | {row} |", flush=True)


def past(bar) -> None:
    print("\nRTRL against the length of the past, 32 units, 8 inputs\n")
    print("| cell | steps 0 - 2,000 | steps 200,000 - 202,000 | ratio | flops per step |\n|---|---|---|---|---|")
    for cell in DIAGONAL:
        young, old = learner(cell, RTRL()), learner(cell, RTRL())
        rng = np.random.default_rng(1)
        old.run(rng.standard_normal((200_000, N_INPUTS)), np.zeros(200_000), progress=False)
        first, later = microseconds(young, 2000), microseconds(old, 2000)
        counted = flops(cell, N_INPUTS)
        print(f"| {name(cell)} | {first:.2f} | {later:.2f} | {later / first:.2f} | {counted:,} |", flush=True)
        bar.update()


def window(bar) -> None:
    lengths = [1, 2, 4, 8, 16, 32, 64]
    print("\nT-BPTT against T, 32 units, 8 inputs\n")
    print(f"| cell | {' | '.join(f'T={T}' for T in lengths)} | per step of T | R squared |")
    print("|---" * (len(lengths) + 3) + "|")
    for cell in CELLS:
        took = [microseconds(learner(cell, TBPTT(T)), max(200, 4000 // T)) for T in lengths]
        slope, _, r_squared = fit(lengths, took)
        row = " | ".join(f"{t:.1f}" for t in took)
        print(f"| {name(cell)} | {row} | {slope:.2f} | {r_squared:.4f} |", flush=True)
        bar.update()


def units(bar) -> None:
    sizes = [24, 32, 48, 64, 96]
    print("\nFull RTRL against n, 8 inputs\n")
    print(f"| cell | {' | '.join(f'n={n}' for n in sizes)} | exponent | of flops |")
    print("|---" * (len(sizes) + 3) + "|")
    for kind in (VanillaRNN, GRU):
        took = [microseconds(learner(kind(n), RTRL()), max(5, int(2e8 / n**4))) for n in sizes]
        exponent = fit(np.log(sizes), np.log(took))[0]
        counted = fit(np.log(sizes), np.log([flops(kind(n), N_INPUTS) for n in sizes]))[0]
        row = " | ".join(f"{t:,.0f}" for t in took)
        print(f"| {kind.__name__} | {row} | {exponent:.2f} | {counted:.2f} |", flush=True)
        bar.update()


def angles(bar) -> None:
    radii = [0.5, 0.9, 0.99]
    seeds = range(20)
    print("\nAngle to the exact gradient in degrees, lower of two layers of 8 units, median over 20 seeds\n")
    print(f"| stack | {' | '.join(f'r to {r}' for r in radii)} |\n|---" + "|---" * len(radii) + "|")
    exact = RTRL(dense=True)
    for label, upper, method in (
        ("linear RTU, linear RTU, layer-local RTRL", LinearRTU, RTRL()),
        ("linear RTU, nonlinear RTU, layer-local RTRL", NonlinearRTU, RTRL()),
        ("linear RTU, linear RTU, T-BPTT(10)", LinearRTU, TBPTT(10)),
    ):
        row = []
        for r in radii:
            cell = Stack([LinearRTU(8, r_max=r, max_phase=1.0), upper(8, r_max=r, max_phase=1.0)])
            found = [gradient_angles(cell, 3, method, exact, steps=200, seed=seed)["0.W1"] for seed in seeds]
            row.append(f"{np.median(found):.0f}")
        print(f"| {label} | {' | '.join(row)} |", flush=True)
        bar.update()


def two_layers(bar) -> None:
    print("\n| two layers of n linear RTUs | operations, exact | layer-local | bytes, exact | layer-local |")
    print("|---" * 5 + "|")
    for n, d in ((8, 2), (32, 8), (64, 16)):
        cell, exact = Stack([LinearRTU(n), LinearRTU(n)]), RTRL(exact=True)
        numbers = flops(cell, d, exact), flops(cell, d), bytes_per_step(cell, d, exact), bytes_per_step(cell, d)
        print(f"| n = {n}, d = {d} | {' | '.join(f'{number:,}' for number in numbers)} |", flush=True)
    bar.update()


# The tables, with the rows of each.
TABLES = {
    "counted": (counted, 0),
    "past": (past, len(DIAGONAL)),
    "window": (window, len(CELLS)),
    "units": (units, 2),
    "angles": (angles, 3),
    "two-layers": (two_layers, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=TABLES, nargs="+", default=list(TABLES), help="tables; all by default")
    chosen = [TABLES[name] for name in parser.parse_args().only]
    with tqdm(total=sum(rows for _, rows in chosen), desc="measuring", leave=False) as bar:
        for table, _ in chosen:
            table(bar)


if __name__ == "__main__":
    main()
