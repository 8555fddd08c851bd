"""Real-time recurrent learning: sensitivities carried forward with the state, exact for fixed parameters."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RTRL:
    """Exact RTRL by a cell's own sensitivities (Williams & Zipser 1989; Elelimy et al. 2024, Sec. 3.3)."""

    def spec(self, cell_spec: Any) -> Any:
        """The spec whose memory carries this gradient."""
        return cell_spec
