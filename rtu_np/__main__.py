"""The command line: python -m rtu_np gradcheck."""

import argparse
import sys

from rtu_np import gradcheck
from rtu_np.cells.linear_rtu import LinearRTU
from rtu_np.cells.nonlinear_rtu import NonlinearRTU
from rtu_np.layers import ACTIVATIONS
from rtu_np.validation import DTYPES

CELLS = {"linear-rtu": LinearRTU, "nonlinear-rtu": NonlinearRTU}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m rtu_np", description="Recurrent trace units, checked.")
    commands = top.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "gradcheck",
        help="compare a cell's gradient with BPTT, complex step and central differences",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    check.add_argument("--cell", choices=CELLS, default="linear-rtu")
    check.add_argument("--activation", choices=ACTIVATIONS, default="tanh")
    check.add_argument("--n-hidden", type=int, default=8, help="units")
    check.add_argument("--n-inputs", type=int, default=3, help="width of the input")
    check.add_argument("--steps", type=int, default=60, help="length of the sequence")
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--dtype", choices=DTYPES, default="float64")
    return top


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        cell = CELLS[arguments.cell](n_hidden=arguments.n_hidden, activation=arguments.activation)
        report = gradcheck.check_gradients(
            cell, arguments.n_inputs, arguments.steps, seed=arguments.seed, dtype=arguments.dtype
        )
    except ValueError as error:
        print(f"gradcheck: {error}", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
