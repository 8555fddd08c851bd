"""Settings under which every branch of a rule is reached within some dozens of steps, and where a rule may stand."""

from rtu_np import (
    SGD,
    TIDBD,
    Adam,
    Adaptive,
    AdaptiveObGD,
    Autostep,
    Blocks,
    Intentional,
    ObGD,
    RMSProp,
    SwiftTD,
    WithLambda,
)

# Large steps would amplify rounding from step to step.
RULES = {
    "AdaptiveObGD": AdaptiveObGD(0.01, kappa=5.0, beta=0.9, epsilon=1e-4),
    "Adaptive": Adaptive(0.003, epsilon=0.1),
    "Intentional": Intentional(0.05, beta=0.9, clip=1.1, clip_beta=0.8),
    "Intentional, z^2": Intentional(0.05, beta=0.9, statistics="trace", clip=1.1, clip_beta=0.8),
    "Intentional, normalized": Intentional(0.02, beta=0.9, clip=1.1, clip_beta=0.8, normalize=True),
    "TIDBD": TIDBD(0.01, meta_step=0.5, kappa=3.0),
    "Autostep": Autostep(0.02, meta_step=0.3, tau=20.0),
}


def of_blocks(*blocks: str) -> dict[str, Blocks]:
    """Rules per block, for a network of a cell and these linear readouts; SwiftTD where it has a meaning."""
    last = blocks[-1]
    others = {name: Autostep(0.02, meta_step=0.3, tau=20.0) for name in blocks[:-1]}
    swift = SwiftTD(0.02, meta_step=0.01, eta=0.06, decay=0.9)
    shares = {name: 0.5 / len(blocks) for name in blocks}
    found = {
        "mixed": Blocks(cell=Adam(0.002, beta1=0.8, beta2=0.9), **others, **{last: TIDBD(0.01, 0.5, kappa=3.0)}),
        "with lambdas": Blocks(
            cell=WithLambda(Adaptive(0.003), 0.4),
            **{name: WithLambda(Intentional(0.02, 0.9, "trace", clip=1.1, clip_beta=0.8), 0.95) for name in blocks},
        ),
        "older rules": Blocks(cell=RMSProp(0.002, beta=0.9, epsilon=1e-4), **{name: SGD(0.004) for name in blocks}),
        "shares": Blocks.of_shares(ObGD(0.05, kappa=2.0), cell=0.5, **shares),
    }
    if last != "policy":
        found["SwiftTD"] = Blocks(cell=ObGD(0.05, kappa=4.0), **others, **{last: WithLambda(swift, 0.9)})
    return found
