"""PPO's minibatch gradient beside the same loss written in PyTorch, whose autograd does all of the differentiation."""

import numpy as np
import pytest
from cases import COMPILED
from ppo_cases import T, gradient_of, parameters, sequences, stale
from tolerances import TORCH, assert_close

from rtu_np import RTRL, TBPTT

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(COMPILED, reason="test_modes.py runs it uncompiled")


def linear_rtu(p, state, x, prefix="cell."):
    """(c, y), c being complex."""
    r = torch.exp(-torch.exp(p[f"{prefix}nu_log"]))
    eigenvalue = torch.polar(r, torch.exp(p[f"{prefix}theta_log"]))
    weights = torch.complex(p[f"{prefix}W1"], p[f"{prefix}W2"])
    c = eigenvalue * state + torch.sqrt(1 - r**2) * (x.to(weights.dtype) @ weights)
    return c, torch.tanh(torch.cat([c.real, c.imag]))


def encoded_gru(p, state, x):
    x = torch.tanh(x @ p["encoder.W"] + p["encoder.b"])
    cell = [p["cell.W_input"].T, p["cell.W_recurrent"].T, p["cell.b_input"], p["cell.b_recurrent"]]
    h = torch.gru_cell(x[None], state[None], *cell)[0]
    return h, h


def distribution(p, features):
    o = p["policy.W"] @ torch.tanh(features @ p["actor.hidden.W"] + p["actor.hidden.b"]) + p["policy.b"]
    if "policy.log_std" in p:
        return torch.distributions.Normal(o, torch.exp(p["policy.log_std"]))
    return torch.distributions.Categorical(logits=o)


def loss(agent, r, p, features, rows):
    """Of the transitions `rows`, from their features."""
    advantages = torch.tensor(r.advantages[rows])
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    total = 0.0
    for t, y, advantage in zip(rows, features, advantages, strict=True):
        policy = distribution(p, y)
        action = torch.tensor(r.actions[t])
        action = action[0].long() if isinstance(policy, torch.distributions.Categorical) else action
        ratio = torch.exp(policy.log_prob(action).sum() - r.log_p[t])
        total = total - torch.minimum(ratio * advantage, ratio.clamp(1 - agent.clip, 1 + agent.clip) * advantage)
        v = (p["value.W"] @ torch.tanh(y @ p["critic.hidden.W"] + p["critic.hidden.b"]) + p["value.b"])[0]
        near = r.values[t] + (v - r.values[t]).clamp(-agent.clip, agent.clip)
        total = total + agent.value_coef * 0.5 * torch.maximum((v - r.returns[t]) ** 2, (near - r.returns[t]) ** 2)
        total = total - agent.entropy_coef * policy.entropy().sum()
    return total / len(rows)


def run(step, p, state, xs, starts):
    """Features of each step; episodes start from zero."""
    features = []
    for x, start in zip(xs, starts, strict=True):
        state, y = step(p, state * (0.0 if start else 1.0), torch.tensor(x))
        features.append(y)
    return features


def differentiated(agent, r, features_of, rows):
    p = {name: torch.tensor(view, requires_grad=True) for name, view in parameters(agent).items()}
    loss(agent, r, p, features_of(p), rows).backward()
    return {name: block.grad.numpy() for name, block in p.items()}


@pytest.mark.parametrize("discrete", [True, False])
def test_rtrl(discrete):
    """Fresh sensitivities: autograd goes back through the whole rollout, from its beginning."""
    agent, r, _ = stale("linear RTU", RTRL(), discrete, entropy_coef=0.1, clip=0.1)
    agent._update._recompute(True, False)
    order = sequences(agent)
    zero = torch.zeros(4, dtype=torch.complex128)

    def features(p):
        every = run(linear_rtu, p, zero, r.x, r.starts)
        return [every[t] for t in order]

    found = gradient_of(agent, order)
    for name, block in differentiated(agent, r, features, order).items():
        assert_close(found[name], block, TORCH, name)


@pytest.mark.parametrize("discrete", [True, False])
def test_t_bptt(discrete):
    agent, r, _ = stale("GRU behind an encoder", TBPTT(T), discrete, entropy_coef=0.1, clip=0.1)
    order = sequences(agent)
    rows = [range(s * T, (s + 1) * T) for s in order]

    def features(p):
        parts = [run(encoded_gru, p, torch.tensor(r.states[k[0]]), r.x[k], r.starts[k]) for k in map(np.array, rows)]
        return [y for part in parts for y in part]

    found = gradient_of(agent, order)
    for name, block in differentiated(agent, r, features, [t for k in rows for t in k]).items():
        assert_close(found[name], block, TORCH, name)
