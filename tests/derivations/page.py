"""The page whose equations are evaluated here."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "derivations.md").read_text(encoding="utf-8")
