"""The commands: found beside folders of the same name, and true to what went wrong."""

import configparser
import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import COMPILED

import experiments.__main__ as experiments_command
import rtu_np_command
from experiments import film
from rtu_np import commands, files

ROOT = Path(__file__).parent.parent
SCRIPT = "import sys\nfrom rtu_np_command import main\nsys.exit(main())\n"  # as pip writes it
SMOKE = ["experiments", "trace-conditioning", "--preset", "smoke"]


@pytest.fixture
def project(tmp_path):
    """A project of the user's with packages `experiments` and `envs` of its own."""
    for name in ("experiments", "envs"):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "__init__.py").write_text("")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rtu-np").write_text(SCRIPT)
    return tmp_path / "project"


def rtu_np(project, *words, path=(), command=(), **options):
    """Run the installed command in the project's folder; `path` comes before this checkout on PYTHONPATH."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])}
    start = command or [sys.executable, str(project.parent / "bin" / "rtu-np")]
    return subprocess.run(
        [*start, *words], cwd=project, env=environment, capture_output=True, text=True, check=False, **options
    )


def test_setup_installs_the_command():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, target = setup["options.entry_points"]["console_scripts"].split("=")
    module, function = target.strip().split(":")
    assert (name.strip(), module) == ("rtu-np", setup["options"]["py_modules"])
    assert getattr(importlib.import_module(module), function) is rtu_np_command.main


def test_it_lists_helps_and_checks_a_gradient(project):
    done = rtu_np(project, "experiments")
    assert (done.returncode, done.stdout.count("Claim: ")) == (0, len(experiments_command.EXPERIMENTS)), done.stderr
    assert "{gradcheck,learnercheck,timing,cache,warm,experiments}" in rtu_np(project, "--help").stdout
    assert "usage: rtu-np experiments" in rtu_np(project, "experiments", "--help").stdout
    done = rtu_np(project, "experiments", "nothing")
    assert (done.returncode, "; rtu-np experiments lists all" in done.stderr) == (2, True)
    done = rtu_np(project, "gradcheck", "--cell", "nothing")
    assert (done.returncode, "usage: rtu-np gradcheck" in done.stderr) == (2, True)


@pytest.mark.skipif(not COMPILED, reason="learning takes too long in plain Python")
def test_it_makes_a_sweep_beside_packages_of_the_same_names(project):
    """Its workers are started by `python -m`, in the project's folder, and find ours as well."""
    done = rtu_np(project, *SMOKE, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert (project / "runs" / "trace-conditioning" / "smoke.png").exists()


@pytest.mark.parametrize("name", ["experiments", "envs"])
def test_it_says_what_hides_a_package(project, name):
    other = next(project / each for each in ("experiments", "envs") if each != name)
    (other / "__init__.py").unlink()
    other.rmdir()
    done = rtu_np(project, *SMOKE, path=[project])
    assert done.returncode == 2
    said = f"{name} is {project / name} here, which hides the package of rtu_np, {ROOT / name}, since PYTHONPATH names"
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_python_m_says_that_the_folder_hides_the_environments(project):
    (project / "experiments" / "__init__.py").unlink()
    (project / "experiments").rmdir()
    for module in ("experiments", "experiments.film"):
        done = rtu_np(project, command=[sys.executable, "-m", module])
        assert done.returncode == 2
        assert "Python looks in the current folder first; use the command rtu-np, or another folder" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_folder_without_code_hides_as_well(project):
    """Python calls it a namespace package, if no other package of this name is found first."""
    (project / "experiments" / "__init__.py").unlink()
    code = (
        "import sys; from importlib.machinery import PathFinder; import rtu_np.commands as c; sys.path[:] = ['']; "
        "sys.meta_path[:] = [PathFinder]; print(c.what_hides('experiments')); print(c.what_hides('absent'))"
    )
    done = rtu_np(project, command=[sys.executable, "-c", code])
    hidden, missing = done.stdout.splitlines()
    assert hidden.startswith(f"experiments is {project / 'experiments'} here")
    assert missing.startswith(f"the package absent is missing: expected it in {ROOT}")


def test_nothing_hides_ours_here():
    assert [commands.what_hides(name) for name in ("rtu_np", "envs", "experiments")] == ["", "", ""]
    assert film.what_hides is commands.what_hides


# ---------------------------------------------------------------------------------------------------- what went wrong


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are Unix's")
@pytest.mark.parametrize(
    "words",
    [["-m", "experiments"], ["-m", "rtu_np", "gradcheck", "--steps", "3"], ["-m", "rtu_np_command", "experiments"]],
)
def test_a_reader_that_left_ends_a_command_quietly(words, tmp_path):
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, *words], stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (commands.READER_LEFT, b"")


@pytest.mark.skipif(sys.platform == "win32" or not COMPILED, reason="pipes are Unix's; learning takes too long")
def test_a_reader_that_left_in_the_middle_of_a_sweep(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", *SMOKE, "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, check=False)
    os.close(write)
    assert done.returncode == commands.READER_LEFT
    assert b"cannot be written" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_another_pipe_is_not_the_reader():
    def main():
        raise BrokenPipeError(errno.EPIPE, "the pipe of a worker")

    with pytest.raises(BrokenPipeError, match="of a worker"):
        commands.exit_code(main)


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "No space left on device"), (errno.EIO, "Input/output error")]
)
def test_an_error_of_the_system_is_said_as_it_is(number, text, tmp_path, monkeypatch, capsys):
    def fails(experiment, arguments, scores):
        with files.replacing(tmp_path / "smoke.json"):
            raise OSError(number, text)

    monkeypatch.setattr(experiments_command, "run", fails)
    assert experiments_command.main([*SMOKE[1:], "--output", str(tmp_path / "runs")]) == 1
    said = (
        f"[Errno {number}] {text}: '{tmp_path / 'smoke.json'}'; finished runs are kept, and the same command continues"
    )
    assert capsys.readouterr().err == f"{said}\n"


def test_an_output_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert experiments_command.main([*SMOKE[1:], "--output", str(tmp_path / "file")]) == 2
    assert f"--output {tmp_path / 'file'}: cannot be written to" in capsys.readouterr().err
