"""The number of units: what is learning through time worth in a recurrent layer of 2, and of 64?

A layer that is drawn at random has units that keep something of everything. With many of them a readout may find what
it needs, and truncated backpropagation through time over one step, T-BPTT(1), which hardly teaches the layer what to
keep, may do little harm. With few the layer must be learned. So real-time recurrent learning (RTRL) was expected to be
ahead by most with few units. It is not so: it is ahead at each size, and by most with 32.

Claim: RTRL is above T-BPTT(1) of the same network on most sizes of the recurrent layer, of 2 to 64 units.

Chosen here: the streaming actor-critic of `stream-memory`, with recurrent trace units (RTUs) and its rule "Blocks",
lambda .8. For each size and gradient, Adam's step size in the recurrent layer is chosen on seeds 1000 and 1001.

Minutes on two cores: smoke 0.5, laptop 3.
"""

from typing import Any

from experiments import control, streaming_agents
from experiments.control import SCORES, describe, label, run
from experiments.engine import plotting
from experiments.engine.results import Config, Results
from experiments.engine.rows import Table
from experiments.engine.selection import Preset, Stage
from experiments.tasks import REACHABLE, REPEAT_PREVIOUS
from rtu_np import LinearRTU, recurrent_network
from rtu_np.plot import curve_style

__all__ = ["PRESETS", "SCORES", "describe", "draw", "label", "run", "score", "stages"]

GRADIENTS = ("RTRL", "T-BPTT(1)")
LAMBDA = 0.8


def setting(units: int, gradient: str, step_size: float, steps: int) -> Config:
    """One agent; next to the words of `experiments.control` it has the number of units."""
    parts = streaming_agents.arguments(("RTU", gradient), streaming_agents.blocks, step_size, LAMBDA)
    parts |= {"cell": recurrent_network(LinearRTU(units, max_phase=1.0)), "previous_action_reward": True}
    config = control.setting(REPEAT_PREVIOUS, f"{gradient}, {units} units", steps, "ActorCritic", **parts)
    return {**config, "units": units, "gradient": gradient, "size": step_size}


def trials(preset: Preset) -> list[Config]:
    """Each number of units and gradient with each step size."""
    tuning = preset["tuning"]
    return [
        setting(units, gradient, step_size, tuning["steps"])
        for units in preset["units"]
        for gradient in GRADIENTS
        for step_size in tuning["step_sizes"]
    ]


def stages(preset: Preset) -> list[Stage]:
    return [
        (lambda _: trials(preset), list(preset["tuning"]["seeds"])),
        (lambda earlier: streaming_agents.reported(preset, earlier[0]), list(preset["seeds"])),
    ]


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "units": [2],
        "steps": 2000,
        "tuning": {"step_sizes": [1e-3], "seeds": range(1000, 1001), "steps": 1000},
        "seeds": range(1),
    },
    "laptop": {
        "units": [2, 4, 8, 16, 32, 64],
        "steps": 100_000,
        "tuning": {"step_sizes": [3e-4, 1e-3], "seeds": range(1000, 1002), "steps": 50_000},
        "seeds": range(10),
    },
}


def score(results: Results) -> dict[str, dict[str, float]]:
    """{setting: numbers}: as `control.score`, with the step size, and the returns that bound it."""
    return streaming_agents.score(results, REACHABLE)


def draw(settings: list[Config], table: Table) -> Any:
    """Return in the last tenth against the number of units. Dashed: the best without memory, and with a perfect one."""
    units = sorted({config["units"] for config in settings})
    figure, ((ax,),) = plotting.panels(1, 1, 2.8)
    for k, gradient in enumerate(GRADIENTS):
        rows = {c["units"]: table[label(c)] for c in settings if c["gradient"] == gradient and label(c) in table}
        if not rows:
            continue  # a job array that is not finished
        shifted = [n * 2 ** (0.1 * (k - 0.5)) for n in rows]  # so that no marker hides another
        line = {"label": gradient, **curve_style(k)}
        means = [row["return"] for row in rows.values()]
        plotting.points(ax, shifted, means, [(row["low"], row["high"]) for row in rows.values()], **line)
    for k, ceiling in enumerate(REACHABLE[REPEAT_PREVIOUS].values()):
        text = "best without memory, and with a perfect one" if k == 0 else None
        ax.axhline(ceiling, color="0.6", linestyle="--", linewidth=0.8, zorder=0, label=text)
    ax.set_xscale("log", base=2)
    ax.set_xticks(units, map(str, units))
    ax.minorticks_off()
    ax.set(xlabel="units of the recurrent layer", xlim=(units[0] / 1.3, units[-1] * 1.3))
    ax.set_ylabel("return of an episode, last tenth")
    plotting.legend_below(figure)
    title = f"{REPEAT_PREVIOUS}, streaming actor-critic(lambda), {settings[0]['steps']:,} steps"
    plotting.headline(figure, title, int(next(iter(table.values()))["seeds"]))
    return figure
