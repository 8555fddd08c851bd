"""TD(lambda): what is saved or copied goes on bit for bit, and what is damaged or foreign is refused."""

import copy
import pickle
import zipfile

import numpy as np
import oracles
import pytest
from td_cases import PRECISIONS, D, N, everything, learner, run

from rtu_np import LinearRTU, TDLambda


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
        assert np.array_equal(file["params.W1"], agent.parameters["W1"])


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


def test_a_checkpoint_of_another_shape_or_version(tmp_path):
    import io
    import json

    agent = learner()
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    agent.save(good)

    def member(array):
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    rewrite(good, bad, "params.W1.npy", member(np.zeros((D + 1, N))))
    with pytest.raises(ValueError, match=r"params.W1 is float64 \(3, 3\), expected float64 \(2, 3\)"):
        TDLambda.load(bad)
    with np.load(good) as file:
        page = json.loads(file["settings.json"].tobytes())
    for change, message in (
        ({"version": 99}, "checkpoint version 99"),
        ({"format": "other"}, "another program"),
        ({"learner": "PPO"}, "not a checkpoint of TDLambda"),
        ({"cell": {"name": "Mine"}}, "cell 'Mine' is not of this package; give it to load"),
        ({"gamma": 7}, "gamma is 7"),
        ({"lambda_": None}, "lambda_ is None"),
    ):
        text = json.dumps({**page, **change}).encode()
        rewrite(good, bad, "settings.json.npy", member(np.frombuffer(text, np.uint8)))
        with pytest.raises(ValueError, match=message):
            TDLambda.load(bad)
