"""The pictures of docs/derivations.md are what `python -m experiments.pictures` draws, and what they say is so."""

import json
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from figure_cases import faults

from experiments import pictures

mpl.use("Agg")
PAGE = (Path(__file__).parent.parent / "docs" / "derivations.md").read_text()


def description(svg):
    """The numbers in a picture's file."""
    text = re.search(r"<dc:description>(.*?)</dc:description>", svg, re.DOTALL)
    return json.loads(text.group(1).replace("&quot;", '"'))


def texts(svg):
    return re.findall(r"<!-- (.*?) -->", svg)


def same(numbers, others):
    if isinstance(numbers, dict):
        return numbers.keys() == others.keys() and all(same(numbers[name], others[name]) for name in numbers)
    return np.allclose(numbers, others, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """{picture: (numbers, faults, file)}, each drawn again."""
    folder, found = tmp_path_factory.mktemp("pictures"), {}
    with pictures.style():
        for name, draw in pictures.PICTURES.items():
            figure, numbers = draw()
            wrong = faults(figure)
            pictures.save((figure, numbers), folder / f"{name}.svg")
            found[name] = numbers, wrong, folder / f"{name}.svg"
    return found


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_the_committed_picture_is_what_the_command_draws(name, drawn):
    numbers, wrong, file = drawn[name]
    assert not wrong
    committed = (pictures.FOLDER / f"{name}.svg").read_text()
    assert same(numbers, description(committed))
    assert texts(committed) == texts(file.read_text())
    assert len(committed) < 100_000
    alt = re.search(rf"!\[([^\]]+)\]\(pictures/{name}\.svg\)", PAGE)
    assert alt is not None, f"docs/derivations.md does not show {name}"
    assert len(alt.group(1)) > 40


def test_the_folder_has_no_other_pictures():
    assert {file.stem for file in pictures.FOLDER.iterdir()} == set(pictures.PICTURES)


def test_what_the_pictures_say_is_so(drawn):
    plane, rows, ways, labels = (drawn[name][0] for name in ("plane", "sensitivities", "both-ways", "labels"))
    g, p = (plane["r"] * part(plane["theta"]) for part in (np.cos, np.sin))
    assert np.allclose(plane["J"], [[g, -p], [p, g]], rtol=1e-12)
    c = np.array(plane["states"]) @ [1, 1j]
    assert np.allclose(c[1:], (g + 1j * p) * c[:-1], rtol=1e-12)
    dense, unit = rows["vanilla RNN, 8 units"], rows["linear RTU, 4 units"]
    assert dense["nonzero"] == np.prod(dense["shape"]) == 8 * 8 * (3 + 8 + 1)
    assert unit["nonzero"] == 4 * 2 * (2 + 2 * 3)  # both numbers of a unit, by its own parameters
    assert rows["stored"] == 4 * 2 * (2 + 3)  # (14)
    assert ways["T-BPTT"][-1] == pytest.approx(ways["RTRL"], rel=1e-12)
    assert ways["T-BPTT"][0] != pytest.approx(ways["RTRL"], rel=0.1)
    assert labels.pop("exact for fixed parameters") < 1e-12
    assert min(labels.values()) > 0.05
