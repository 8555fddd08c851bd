"""What agents that learn on every step have in common: networks with eligibility traces."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from rtu_np.control.agent import Agent
from rtu_np.control.inputs import senses
from rtu_np.learning import network, optimizers
from rtu_np.learning.network import Network


class StreamingAgent(Agent):
    """Base of `ActorCritic`, `QLambda` and `QRC`. A subclass names its `_networks`."""

    @abstractmethod
    def _networks(self) -> dict[str, tuple[Network, str | None, Any]]:
        """{prefix of its names: (network, what its readout is called or None where it has two, its optimiser)}"""

    def _named(self, names: Callable[[Network, str, str | None], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        parts = (names(net, prefix, readout) for prefix, (net, readout, _) in self._networks().items())
        return {name: view for part in parts for name, view in part.items()}

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: writable view}: of an actor and a critic "actor.0.W", "actor.policy.W", "critic.value.w" and so on."""
        return self._named(lambda net, prefix, readout: network.named(net.params, prefix, readout))

    @property
    def traces(self) -> dict[str, np.ndarray]:
        """{name: writable view} of the eligibility traces, named as the parameters are."""
        return self._named(lambda net, prefix, readout: network.named(net.traces, prefix, readout))

    def diagnostics(self) -> dict[str, float]:
        """Mean of |delta| and root mean square of delta since the last call; the step size that is due to the latest
        delta along the traces as they are now; ||z||_1 of each block."""
        tally = senses(self._inputs, self._senses)[0].tally
        n, latest = max(tally[2], 1), self.dtype.type(tally[3])
        numbers = {"mean_abs_delta": tally[0] / n, "rms_delta": np.sqrt(tally[1] / n)}
        tally[:3] = 0
        for prefix, (net, readout, optimizer) in self._networks().items():
            scale = optimizers.scale(optimizer.spec(), net.flat_traces, latest)
            if scale is not None:
                numbers[f"{prefix}step"] = float(scale / latest) if latest else 0.0
            traces = network.named(net.traces, prefix, readout)
            numbers |= {f"trace.{name}": float(np.abs(view).sum()) for name, view in traces.items()}
        return numbers

    def _forget(self) -> None:
        """Clear memory and traces."""
        for net, _, _ in self._networks().values():
            net.flat_memory[:] = 0
            net.flat_traces[:] = 0

    def _learned(self) -> dict[str, np.ndarray]:
        """{name: view} of all that changes in the networks, and of their latest input."""
        before = type(self)._carve(self._spec, self._flat)[0].before
        return self._named(network.arrays) | {"before": before}
