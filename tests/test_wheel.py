"""What a release uploads: every module is in the wheel, PyPI can render its page, and it runs without the checkout."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("rtu_np", "envs", "experiments")
URL = "https://example.org/rtu_np"

spec = spec_from_file_location("description", ROOT / ".ci" / "description.py")
description = module_from_spec(spec)
spec.loader.exec_module(description)


def command(*words, cwd):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of wheel and sdist, made of a copy of this source."""
    source, dist = tmp_path_factory.mktemp("source") / "rtu_np", tmp_path_factory.mktemp("dist")
    ours = {".git", "runs", "build", "dist", "results"}
    shutil.copytree(
        ROOT,
        source,
        ignore=lambda folder, names: [
            n for n in names if n in ours or n.endswith(("_cache", "__pycache__", ".egg-info"))
        ],
    )
    description.main(source, URL)
    command("-m", "build", "--no-isolation", "--outdir", dist, source, cwd=dist)
    return dist


def test_pypi_can_render_the_page(built):
    assert command("-m", "twine", "check", "--strict", *built.iterdir(), cwd=built).count("PASSED") == 2


def test_every_module_is_in_the_wheel(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    ]
    assert len(sources) > 200
    assert {str(path.relative_to(ROOT)) for path in sources} - names == set()
    assert "rtu_np_command.py" in names


def test_the_sdist_has_tests_and_what_they_read(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tests = {f"tests/{path.relative_to(ROOT / 'tests')}" for path in (ROOT / "tests").rglob("*.py")}
    assert len(tests) > 150
    assert tests - names == set()
    assert {
        "README.md",
        "CHANGELOG.md",
        "docs/design.md",
        "lectures/micro_rtrl.py",
        "benchmarks/ten_series.py",
    } <= names


def test_the_wheel_runs_without_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    command("-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "installed", wheel, cwd=tmp_path)
    first = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); import rtu_np_command, rtu_np; "
    assert str(tmp_path) in command("-c", first + "print(rtu_np.__file__)", cwd=tmp_path)
    said = command("-c", first + "sys.argv = ['rtu-np', 'experiments']; sys.exit(rtu_np_command.main())", cwd=tmp_path)
    assert "trace-conditioning" in said


def test_the_page_on_pypi_has_no_relative_link(built):
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    metadata = message_from_string(archive.read(name).decode())
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert f"Source, {URL}" in metadata.get_all("Project-URL")
    assert description.LINK.search(metadata.get_payload()) is None
    assert f"{URL}/blob/v{metadata['Version']}/docs/own_stream.md" in metadata.get_payload()


def test_without_a_repository_links_are_words():
    stays = "[arXiv](https://arxiv.org), [below](#below), 1.1 [1.0, 1.2]."
    text = f"![a picture](docs/a.png) See [the page](docs/a.md), {stays}"
    assert description.described(text, "", "1.2") == f" See the page, {stays}"
    assert description.described(text, URL + "/", "1.2").startswith(
        f"![a picture]({URL}/raw/v1.2/docs/a.png) See [the page]({URL}/blob/v1.2/docs/a.md), "
    )
