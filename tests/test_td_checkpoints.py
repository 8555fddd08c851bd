"""TD(lambda): what is saved or copied goes on bit for bit, and what is damaged or foreign is refused."""

import copy
import io
import json
import pickle
import zipfile

import numpy as np
import oracles
import pytest
from agent_cases import make
from td_cases import PRECISIONS, D, N, everything, learner, run

from rtu_np import ActorCritic, LinearRTU, TDLambda


@pytest.mark.parametrize(("kind", "optimizer", "dtype"), PRECISIONS)
def test_save_and_load_continue_bit_for_bit(kind, optimizer, dtype, tmp_path):
    s, more = oracles.stream(150, D, seed=13), oracles.stream(150, D, seed=14)
    agent = learner(kind, optimizer, dtype=dtype)
    run(agent, s)
    agent.predict(s.observations[:10])
    agent.save(tmp_path / "agent.npz")
    copy = TDLambda.load(tmp_path / "agent.npz")
    assert (copy.cell, copy.optimizer, copy.gradient, copy.steps) == (agent.cell, agent.optimizer, agent.gradient, 150)
    assert np.array_equal(run(agent, more), run(copy, more))
    assert agent.predict(s.observations[10]) == copy.predict(s.observations[10])
    assert everything(agent) == everything(copy)
    assert [path.name for path in tmp_path.iterdir()] == ["agent.npz"]


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda agent: pickle.loads(pickle.dumps(agent))], ids=["copy", "pickle"]
)
def test_a_copy_goes_on_by_itself(duplicate, rng):
    agent = TDLambda(LinearRTU(3), 2, lambda_=0.7)
    x, c = rng.standard_normal((40, 2)), rng.standard_normal(40)
    agent.run(x[:20], c[:20], progress=False)
    agent.predict(x[0])
    other = duplicate(agent)
    before = agent._flat.copy()
    stepped = [other.step(x[k], c[k]) for k in range(20, 40)]
    assert np.array_equal(agent._flat, before)
    assert np.array_equal(stepped, agent.run(x[20:], c[20:], progress=False))
    assert agent.predict(x[1]) == other.predict(x[1])
    assert other.steps == agent.steps == 40


def test_a_checkpoint_needs_nothing_but_numpy_to_read(tmp_path):
    agent = learner()
    agent.save(tmp_path / "agent.npz")
    with np.load(tmp_path / "agent.npz", allow_pickle=False) as file:
        assert np.array_equal(file["params.cell.W1"], agent.parameters["cell.W1"])


def test_damaged_and_foreign_checkpoints(tmp_path):
    agent = learner()
    good = tmp_path / "good.npz"
    agent.save(good)
    whole = good.read_bytes()
    bad = tmp_path / "bad.npz"
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-30], whole[:100] + b"\0" * 50 + whole[150:]):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match="not a whole rtu_np checkpoint"):
            TDLambda.load(bad)
    np.savez(bad, a=np.ones(3))
    with pytest.raises(ValueError, match="not a whole rtu_np checkpoint"):
        TDLambda.load(bad)
    with pytest.raises(FileNotFoundError):
        TDLambda.load(tmp_path / "absent.npz")

    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    for content in (pickle.dumps(Trap()), None):
        if content is None:
            np.savez(bad, **{"settings.json": np.array([Trap()], dtype=object)})
        else:
            bad.write_bytes(content)
        with pytest.raises(ValueError, match="not a whole rtu_np checkpoint"):
            TDLambda.load(bad)


def rewrite(source, target, name, content):
    """Copy a checkpoint with one member replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.namelist():
            new.writestr(item, content if item == name else old.read(item))


def member(array):
    """The bytes of an array in a checkpoint."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def rewrite_settings(source, target, change):
    """Copy a checkpoint with some of its settings changed."""
    with np.load(source) as file:
        page = json.loads(file["settings.json"].tobytes())
    text = json.dumps({**page, **change}).encode()
    rewrite(source, target, "settings.json.npy", member(np.frombuffer(text, np.uint8)))


def test_a_checkpoint_of_another_shape_or_version(tmp_path):
    agent = learner()
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    agent.save(good)
    rewrite(good, bad, "params.cell.W1.npy", member(np.zeros((D + 1, N))))
    with pytest.raises(ValueError, match=r"params.cell.W1 is float64 \(3, 3\), expected float64 \(2, 3\)"):
        TDLambda.load(bad)
    for change, message in (
        ({"version": 99}, "has checkpoint format 99: expected 3; was it written by a newer version of rtu_np"),
        ({"format": "other"}, "another program"),
        ({"learner": "PPO"}, "not a checkpoint of TDLambda"),
        ({"cell": {"name": "Mine"}}, "cell 'Mine' is not part of rtu_np; pass it: cell="),
        ({"gamma": 7}, "gamma is 7"),
        ({"lambda_": None}, "lambda_ is None"),
    ):
        rewrite_settings(good, bad, change)
        with pytest.raises(ValueError, match=message):
            TDLambda.load(bad)


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_an_older_format_is_refused(tmp_path, version):
    """In format 1, settings and parameters have other names. In format 2, memory has its numbers in other places."""
    new, old = tmp_path / "new.npz", tmp_path / "old.npz"
    learner().save(new)
    rewrite_settings(new, old, {"version": version})
    with pytest.raises(ValueError, match=rf"an older version of rtu_np \(checkpoint format {version}\): .* format 3"):
        TDLambda.load(old)
    make(False).save(new)
    rewrite_settings(new, old, {"version": version})
    with pytest.raises(ValueError, match="written by an older version of rtu_np"):
        ActorCritic.load(old)
    rewrite_settings(new, old, {"version": 3})
    assert ActorCritic.load(old).steps == 0  # it is the version alone that is refused
