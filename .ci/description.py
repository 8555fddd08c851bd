"""Makes a copy of the source ready for PyPI, whose page has no folder that relative links could lead into.

    python .ci/description.py FOLDER [URL]

README's links and pictures lead to the repository at URL, at the tag of the version. Without a URL, links become
words, and pictures are left out.
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")
DESCRIPTION = "README_PYPI.md"


def described(text: str, url: str, version: str) -> str:
    """The text with links that lead somewhere, whoever reads it."""

    def absolute(found: re.Match) -> str:
        picture, words, path = found.groups()
        if not url:
            return "" if picture else words
        return f"{picture}[{words}]({url.rstrip('/')}/{'raw' if picture else 'blob'}/v{version}/{path})"

    return LINK.sub(absolute, text)


def main(folder: Path, url: str) -> None:
    (version,) = re.findall(r'^__version__ = "(.+)"$', (folder / "rtu_np" / "__init__.py").read_text(), re.MULTILINE)
    (folder / DESCRIPTION).write_text(described((folder / "README.md").read_text(), url, version))
    setup = (folder / "setup.cfg").read_text()
    ours = "long_description = file: README.md"
    if setup.count(ours) != 1:
        sys.exit(f"setup.cfg: expected one line {ours!r}")
    setup = setup.replace(ours, f"long_description = file: {DESCRIPTION}")
    if url:
        setup = setup.replace("project_urls =\n", f"project_urls =\n    Source = {url}\n")
    (folder / "setup.cfg").write_text(setup)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
