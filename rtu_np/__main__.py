"""The command line: python -m rtu_np gradcheck."""

import argparse
import sys

from rtu_np import GRU, LRU, RTRL, TBPTT, BlockDiagonalRNN, LinearRTU, NonlinearRTU, VanillaRNN, gradcheck
from rtu_np.layers import ACTIVATIONS
from rtu_np.validation import DTYPES

CELLS = {
    "linear-rtu": LinearRTU,
    "nonlinear-rtu": NonlinearRTU,
    "lru": LRU,
    "gru": GRU,
    "vanilla-rnn": VanillaRNN,
    "block-diagonal-rnn": BlockDiagonalRNN,
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m rtu_np", description="Recurrent trace units, checked.")
    commands = top.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "gradcheck",
        help="compare a cell's gradient with BPTT, complex step and central differences",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    check.add_argument("--cell", choices=CELLS, default="linear-rtu")
    check.add_argument("--activation", choices=ACTIVATIONS, help="the cell's own default where not given")
    check.add_argument("--tbptt", type=int, metavar="T", help="truncated BPTT through T steps, instead of RTRL")
    check.add_argument("--dense", action="store_true", help="RTRL by the dense recursion, for any cell")
    check.add_argument("--n-hidden", type=int, default=8, help="units")
    check.add_argument("--n-inputs", type=int, default=3, help="width of the input")
    check.add_argument("--steps", type=int, default=60, help="length of the sequence")
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--dtype", choices=DTYPES, default="float64")
    return top


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        settings = {} if arguments.activation is None else {"activation": arguments.activation}
        cell = CELLS[arguments.cell](n_hidden=arguments.n_hidden, **settings)
        gradient = RTRL(dense=arguments.dense) if arguments.tbptt is None else TBPTT(arguments.tbptt)
        report = gradcheck.check_gradients(
            cell, arguments.n_inputs, arguments.steps, gradient, arguments.seed, arguments.dtype
        )
    except (ValueError, TypeError) as error:
        print(f"gradcheck: {error}", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
