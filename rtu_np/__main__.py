"""The command line: `python -m rtu_np gradcheck` or `rtu-np gradcheck`; and `learnercheck`, `timing`, `cache`, `warm`.

RTRL is real-time recurrent learning, BPTT backpropagation through time.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rtu_np import (
    ELSTM,
    GRU,
    LRU,
    PPO,
    QRC,
    RFLO,
    RTRL,
    SGD,
    TBPTT,
    TIDBD,
    UORO,
    ActorCritic,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    BlockDiagonalRNN,
    Dense,
    GatedRTU,
    Intentional,
    LinearRTU,
    MinGRU,
    NonlinearRTU,
    ObGD,
    OnlineRegressor,
    QLambda,
    RMSProp,
    SnAp1,
    Stack,
    TDLambda,
    VanillaRNN,
    check_learner,
    files,
    gradcheck,
    kernel_files,
    timing,
    warm,
)
from rtu_np.commands import exit_code
from rtu_np.numerics.activations import ACTIVATIONS
from rtu_np.validation import DTYPES

CELLS: dict[str, Any] = {
    "linear-rtu": LinearRTU,
    "nonlinear-rtu": NonlinearRTU,
    "lru": LRU,
    "gru": GRU,
    "min-gru": MinGRU,
    "elstm": ELSTM,
    "gated-rtu": GatedRTU,
    "vanilla-rnn": VanillaRNN,
    "block-diagonal-rnn": BlockDiagonalRNN,
}
# Step sizes so small that no cell diverges.
OPTIMIZERS = {
    "sgd": SGD(1e-6),
    "obgd": ObGD(),
    "adam": Adam(1e-6),
    "rmsprop": RMSProp(1e-6),
    "adaptive-obgd": AdaptiveObGD(),
    "adaptive": Adaptive(1e-6),
    "intentional": Intentional(1e-3),
    "tidbd": TIDBD(1e-6),
    "autostep": Autostep(1e-6),
}
# Gradients without a flag of their own.
GRADIENTS: dict[str, Any] = {
    "snap1": SnAp1(),
    "rflo": RFLO(),
    "uoro": UORO(),
    "taylor": RTRL(taylor=True),
}
LEARNERS: dict[str, Any] = {
    "td": lambda cell, rule, **more: TDLambda(cell, 3, optimizer=rule, **more),
    "many": lambda cell, rule, **more: TDLambda(cell, 3, [0.5, 0.9, 0.9], optimizer=rule, **more),
    "regression": lambda cell, rule, **more: OnlineRegressor(cell, 3, optimizer=rule, **more),
    "actor-critic": lambda cell, rule, **more: ActorCritic(
        _cart_pole(), cell, actor_optimizer=rule, critic_optimizer=rule, **more
    ),
    "q": lambda cell, rule, **more: QLambda(_cart_pole(), cell, optimizer=rule, **more),
    "ppo": lambda cell, rule, **more: PPO(
        _cart_pole(),
        cell,
        actor=Dense(4, "tanh"),
        critic=Dense(4, "tanh"),
        n_steps=16,
        n_minibatches=2,
        n_epochs=2,
        optimizer=rule,
        **more,
    ),
    "qrc": lambda cell, rule, **more: QRC(_cart_pole(), cell, optimizer=rule, h_optimizer=rule, **more),
}


def _cart_pole() -> Any:
    import gymnasium

    return gymnasium.make("CartPole-v1")


def parser(program: str, also: Mapping[str, str]) -> argparse.ArgumentParser:
    """The options of `program`. Its help lists the commands `also`, each with its help, which other parsers take."""
    top = argparse.ArgumentParser(prog=program, description="Check gradients, time learning steps, show compiled code.")
    commands = top.add_subparsers(dest="command", required=True)
    many: dict[str, Any] = {"type": int, "nargs": "+", "metavar": "N"}

    check = _command(commands, "gradcheck", "compare a cell's gradient with BPTT, complex step and central differences")
    check.set_defaults(run=check_gradient)
    check.add_argument("--cell", choices=CELLS, default="linear-rtu")
    check.add_argument("--activation", choices=ACTIVATIONS, help="of the cell; its own default if not given")
    check.add_argument("--readout", type=int, metavar="N", help="a linear layer with N outputs on top")
    _add_network(check)
    _add_gradient(check)
    check.add_argument("--n-hidden", type=int, default=8, help="units")
    check.add_argument("--n-inputs", type=int, default=3, help="width of the input")
    check.add_argument("--steps", type=int, default=60, help="length of the sequence")
    check.add_argument("--reset-at", type=int, metavar="T", help="reset the layer before step T")
    check.add_argument("--thorough", action="store_true", help="all regimes, compiled, at seven sizes, within a minute")
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--dtype", choices=DTYPES, default="float64")

    learn = _command(commands, "learnercheck", "compare a learner's whole update with a reference, step by step")
    learn.set_defaults(run=check_update)
    learn.add_argument("--learner", choices=LEARNERS, default="td", help="agents have the spaces of CartPole")
    learn.add_argument("--cell", choices=CELLS, default="linear-rtu")
    _add_network(learn)
    _add_gradient(learn)
    learn.add_argument("--n-hidden", type=int, default=4, help="units; a step takes as long as it has parameters")
    learn.add_argument("--optimizer", choices=OPTIMIZERS, default="obgd")
    learn.add_argument("--steps", type=int, default=60, help="of a random stream with ends of both kinds")
    learn.add_argument("--seed", type=int, default=0, help="of the learner")
    learn.add_argument("--dtype", choices=DTYPES, default="float64")

    time = _command(commands, "timing", "time a learning step: in compiled code, from Python, and against the machine")
    time.set_defaults(run=time_steps)
    time.add_argument("--cell", choices=CELLS, nargs="+", default=["linear-rtu"])
    time.add_argument("--n-hidden", default=[192], help="units; for several sizes, give as many --n-inputs", **many)
    time.add_argument("--n-inputs", default=[64], help="width of the input", **many)
    time.add_argument("--tbptt", default=[], help="also truncated BPTT through N steps", **many)
    time.add_argument("--gradient", choices=GRADIENTS, nargs="+", default=[], help="also these gradients")
    _add_network(time)
    time.add_argument("--dtype", choices=DTYPES, nargs="+", default=["float64", "float32"])
    time.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    time.add_argument("--repeats", type=int, default=30, help="runs in compiled code, of at least 20 ms each")
    time.add_argument("--calls", type=int, default=20_000, help="single steps from Python")
    time.add_argument("--no-compiling", action="store_true", help="do not time compiling")
    time.add_argument("--output", type=Path, default=Path("runs/timing"), help="folder for timing.json, .csv and .png")

    cache = _command(commands, "cache", "show the folder of compiled code and its size")
    cache.set_defaults(run=show_cache)
    cache.add_argument("--clear", action="store_true", help="remove it; later processes compile again")

    start = _command(commands, "warm", "compile common learners now, and store them for later processes")
    start.set_defaults(run=warm_start)
    start.add_argument(
        "learners", nargs="*", metavar="LEARNER", help=f"some of {', '.join(warm.LEARNERS)}; all if not given"
    )
    start.add_argument(
        "--dtype", choices=DTYPES, nargs="+", default=[], help="precisions; each learner's own if not given"
    )
    for name, text in also.items():
        commands.add_parser(name, help=text)
    return top


def _add_network(command: argparse.ArgumentParser) -> None:
    """The flags of the layers above the cell, and of RTRL through them."""
    command.add_argument(
        "--stack", choices=CELLS, nargs="+", default=[], help="layers above the cell, with as many units"
    )
    command.add_argument("--leak", type=float, metavar="A", help="of a vanilla-rnn, below 1; rflo needs one")
    command.add_argument("--dense", action="store_true", help="full RTRL, for any cell")
    command.add_argument("--exact", action="store_true", help="exact RTRL of two layers of RTUs, with --stack")


def _add_gradient(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tbptt", type=int, metavar="T", help="truncated BPTT through T steps, instead of RTRL")
    command.add_argument("--gradient", choices=GRADIENTS, help="another gradient than RTRL")


def _layers(name: str, n_hidden: int, a: argparse.Namespace, **settings: Any) -> list[Any]:
    """The cell and the layers above it. ValueError if the cell has no leak."""
    if a.leak is not None:
        if name != "vanilla-rnn":
            raise ValueError(f"--leak is {a.leak} for {name}: expected vanilla-rnn, which alone has a leak")
        settings["leak"] = a.leak
    return [CELLS[name](n_hidden=n_hidden, **settings), *(CELLS[each](n_hidden=n_hidden) for each in a.stack)]


def _stacked(layers: list[Any]) -> Any:
    return layers[0] if len(layers) == 1 else Stack(tuple(layers))


def _rtrl(a: argparse.Namespace, also: Mapping[str, Any]) -> RTRL:
    """The RTRL that is asked for. ValueError if more than one of its flags is given, or of `also`."""
    asked = [name for name, value in {"--dense": a.dense, "--exact": a.exact, **also}.items() if value]
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} exclude each other: expected one way of carrying the gradient")
    return RTRL(a.dense, a.exact)


def _gradient(a: argparse.Namespace) -> Any:
    """The one gradient that is asked for."""
    rtrl = _rtrl(a, {"--tbptt": a.tbptt is not None, "--gradient": a.gradient})
    if a.tbptt is not None:
        return TBPTT(a.tbptt)
    return rtrl if a.gradient is None else GRADIENTS[a.gradient]


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)


def check_gradient(arguments: argparse.Namespace) -> int:
    a = arguments
    gradient = _gradient(a)
    layers = _layers(a.cell, a.n_hidden, a, **({} if a.activation is None else {"activation": a.activation}))
    if a.readout is not None:
        layers.append(Dense(a.readout, "identity"))
    report = gradcheck.check_gradients(
        _stacked(layers),
        a.n_inputs,
        a.steps,
        gradient,
        a.seed,
        a.dtype,
        a.reset_at,
        a.thorough,
    )
    print(report)
    return 0 if report.passed else 1


def check_update(arguments: argparse.Namespace) -> int:
    a = arguments
    more = {"gradient": _gradient(a), "seed": a.seed, "dtype": a.dtype}
    learner = LEARNERS[a.learner](_stacked(_layers(a.cell, a.n_hidden, a)), OPTIMIZERS[a.optimizer], **more)
    report = check_learner(learner, a.steps)
    print(report)
    return 0 if report.passed else 1


def time_steps(arguments: argparse.Namespace) -> int:
    if len(arguments.n_hidden) != len(arguments.n_inputs):
        raise ValueError(
            f"--n-hidden has {len(arguments.n_hidden)} numbers and --n-inputs {len(arguments.n_inputs)}: "
            "expected the same count, since they are paired"
        )
    sizes = list(zip(arguments.n_hidden, arguments.n_inputs, strict=True))
    a = arguments
    gradients = [_rtrl(a, {}), *map(TBPTT, a.tbptt), *(GRADIENTS[name] for name in a.gradient)]
    settings = [
        {"cell": _stacked(_layers(name, n, a)), "n_inputs": d, "gradient": gradient, "dtype": dtype}
        for name, (n, d), gradient, dtype in product(a.cell, sizes, gradients, a.dtype)
    ]
    files.check_folder("--output", arguments.output)
    timings, machine = timing.measure_all(
        settings,
        optimizer=OPTIMIZERS[arguments.optimizer],
        repeats=arguments.repeats,
        calls=arguments.calls,
        compiling=not arguments.no_compiling,
    )
    print(f"{machine}\n\n{timing.table(timings, machine)}\n")
    command = shlex.join(["python", "-m", "rtu_np", *arguments.typed])
    for path in timing.save(timings, machine, arguments.output, command):
        print(path)
    return 0


def show_cache(arguments: argparse.Namespace) -> int:
    print(kernel_files.report(arguments.clear))
    return 0


def warm_start(arguments: argparse.Namespace) -> int:
    try:
        print(warm.warm(arguments.learners, arguments.dtype))
    except warm.NotStoredError as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def main(
    argv: list[str] | None = None, program: str = "python -m rtu_np", also: Mapping[str, str] = MappingProxyType({})
) -> int:
    typed = sys.argv[1:] if argv is None else argv
    arguments = parser(program, also).parse_args(typed, argparse.Namespace(typed=typed))
    try:
        return arguments.run(arguments)
    except BrokenPipeError:
        raise  # the reader of the output has left
    except (ValueError, TypeError, OSError) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(exit_code(main))
