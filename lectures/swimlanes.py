"""Lecture 5: who reads what, and who writes it, as a picture with a lane for each place."""

from typing import Any

from rtu_np.plot import COLOURS, GREY

LANES = {
    "x": "$x_t$",
    "c": "$c$",
    "S": "$S$",
    "y_tm1": "$y_{t-1}$",
    "y": "$y_t$",
    "cell": r"$W, \lambda$",
    "readout": "$w, b$",
    "C": "$C_t$",
    "v": "$v_t$",
    "delta": r"$\delta_t$",
    "dv_dy": r"$\partial v_t / \partial y_t$",
    "z": r"$\mathbf{z}$",
}


class Watched(dict):
    """A dictionary that notes which of its places are read, and which are written."""

    def __init__(self, places: dict) -> None:
        super().__init__(places)
        self.read: set[str] = set()
        self.written: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name not in self.written:  # what a line has written itself is not news to it
            self.read.add(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.written.add(name)
        super().__setitem__(name, value)


def watch(line: Any, places: dict) -> tuple[set[str], set[str]]:
    """What a line reads, and what it writes."""
    watched = Watched(places)
    line(watched)
    return watched.read, watched.written


def readings(order: list, uses: dict) -> list[tuple[str, float, int]]:
    """(lane, from, to) of each reading: `from` is the line that has written last; 0 if that was at an earlier step."""
    found: list[tuple[str, float, int]] = []
    for k, line in enumerate(order, start=1):
        for lane in LANES:
            if lane in uses[line][0]:
                wrote = [j for j in range(1, k) if lane in uses[order[j - 1]][1]]
                arrives = k - 0.3 if lane in ("x", "C") else 0
                found.append((lane, wrote[-1] if wrote else arrives, k))
    return found


def draw(axes: Any, order: list, uses: dict) -> None:
    """The lanes of a step whose lines run in this order. Their numbers are those of their places in `uses`."""
    numbers = {line: k for k, line in enumerate(uses, start=1)}
    height = {lane: k for k, lane in enumerate(LANES)}
    today, earlier = {"color": COLOURS[0], "linewidth": 4, "alpha": 0.5}, {"color": COLOURS[6], "linestyle": ":"}
    for lane, source, k in readings(order, uses):
        axes.plot([source, k], [height[lane]] * 2, zorder=1, **(today if source else earlier))
    for k, line in enumerate(order, start=1):
        read, written = ([height[lane] for lane in LANES if lane in places] for places in uses[line])
        axes.plot([k] * len(written), written, "o", color=COLOURS[0], markersize=9)
        axes.plot([k] * len(read), read, "o", color="k", markerfacecolor="w", markersize=6)
    axes.hlines(range(len(LANES)), 0, len(order) + 0.4, color=GREY, linewidth=0.5, alpha=0.4)
    axes.set_xticks(range(1, len(order) + 1), [f"{numbers[line]}\n{line.__name__}" for line in order])
    axes.set_yticks(range(len(LANES)), LANES.values())
    axes.set(xlim=(0, len(order) + 0.4), ylim=(len(LANES) - 0.5, -0.5))
