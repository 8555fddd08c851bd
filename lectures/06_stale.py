# %% [markdown]
# # 6. Stale
#
# Real-time recurrent learning (RTRL) carries the gradient forward, and never looks back. But a learner moves its
# parameters at every step. What it carries was begun with parameters that it no longer has.
#
# One idea: *RTRL is exact for fixed parameters; while they move it is stale, by their speed times the length of memory.*
#
# Each number in the text stands in an `assert`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from envs import TraceConditioning
from rtu_np import Adam, LinearRTU, TDLambda
from rtu_np.plot import COLOURS

# %% [markdown]
# ## One unit whose parameters may move
#
# This is a linear recurrent trace unit, equations (3) to (6) of [the derivations](../docs/derivations.md), with its
# sensitivities $e$, (11). The only news is that step $t$ has parameters of its own, `ws[t]`.


# %%
def carry(ws, xs):
    """The last state, and its sensitivities to nu_log, theta_log, W1 and W2, each step with its own parameters."""
    c, e = 0j, [0j] * 4
    for w, x in zip(ws, xs, strict=True):
        nu, theta, W = np.exp(w[0]), np.exp(w[1]), w[2] + 1j * w[3]
        eigenvalue, gamma = np.exp(-nu + 1j * theta), np.sqrt(-np.expm1(-2 * nu))
        turned = eigenvalue * c
        by_nu_log = -nu * turned + nu * np.exp(-2 * nu) / gamma * W * x
        direct = [by_nu_log, 1j * theta * turned, gamma * x, 1j * gamma * x]
        c, e = turned + gamma * W * x, [eigenvalue * old + new for old, new in zip(e, direct, strict=True)]
    return c, np.array(e)


def gradient(e):
    """Of v = c_1 - c_2 / 2, by (15)."""
    return e.real - 0.5 * e.imag


T, STREAMS = 2_000, 50
xs = np.random.default_rng(0).standard_normal((T, STREAMS))  # fifty streams side by side


def parameters(r):
    return np.array([np.log(-np.log(r)), np.log(0.5), 1.0, 0.3])


# %% [markdown]
# **Fixed parameters.** Nudge one of them for the whole run, and see how the state at the end changes: that is what $e$
# claims to be. It is, to five digits, which is what a nudge can show.

# %%
w, nudge = parameters(0.9), 1e-6
fixed = np.tile(w, (T, 1))
c, fresh = carry(fixed, xs)
for k in range(4):
    nudged = carry(fixed + nudge * np.eye(4)[k], xs)[0]
    assert np.allclose((nudged - c) / nudge, fresh[k], atol=1e-5 * abs(fresh[k]).max())

# %% [markdown]
# **Moving parameters.** Now let all four drift, by 0.0005 a step together, so that they are the same `w` at the last
# step. The unit has the parameters `w`, and it has sensitivities. They are not those of a unit that always had `w`: the
# gradient's direction is off by 0.6 degrees, in the median over the streams.


# %%
def drift(w, speed):
    """Parameters that move by `speed` a step, and are `w` at the last."""
    return w - speed * np.full(4, 0.5) * np.arange(T - 1, -1, -1)[:, None]


def angle(a, b):
    """In degrees, along the first axis."""
    cosine = (a * b).sum(axis=0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


stale = carry(drift(w, 0.0005), xs)[1]
off = np.median(angle(gradient(stale), gradient(fresh)))
print(f"{off:.1f} degrees")
assert np.isclose(off, 0.6, atol=0.05)

# %% [markdown]
# ## The stale gradient is the exact gradient of something else
#
# Take the run as it happened, and nudge the parameters of *all* its steps by the same amount. The state at the end
# changes by what the stale $e$ says. So $e$ is no approximation: it answers exactly how *this* run would have ended. We
# would like to know how a run with today's parameters would end.

# %%
moving = drift(w, 0.0005)
c = carry(moving, xs)[0]
for k in range(4):
    nudged = carry(moving + nudge * np.eye(4)[k], xs)[0]
    assert np.allclose((nudged - c) / nudge, stale[k], atol=1e-5 * abs(stale[k]).max())

# %% [markdown]
# ## Speed times memory
#
# A unit of modulus $r$ remembers for about $1 / (1 - r)$ steps. What it carries is that old, and parameters have moved
# by that many updates since.
#
# Before you look: the drift is ten times faster; what does the angle do? The memory is ten times longer; and now?

# %%
SPEEDS, MODULI = np.array([1e-6, 1e-5, 1e-4, 1e-3]), (0.5, 0.9, 0.97, 0.99)
angles = {}
for r in MODULI:
    w = parameters(r)
    fresh = gradient(carry(np.tile(w, (T, 1)), xs)[1])
    angles[r] = [np.median(angle(gradient(carry(drift(w, s), xs)[1]), fresh)) for s in SPEEDS]

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for k, r in enumerate(MODULI):
    axes.loglog(SPEEDS, angles[r], "o-", color=COLOURS[k], label=f"r = {r}: memory of {1 / (1 - r):.0f} steps")
axes.set(xlabel="how far the parameters move in a step", ylabel="angle, degrees")
axes.set_title("Ten times faster is ten times staler")
axes.legend(fontsize=8);

# %% [markdown]
# On logarithmic axes the lines have slope 1: ten times faster, ten times the angle. And with a memory of 100 steps the
# angle is 13 times that with a memory of 10, at the speed of 1e-4. The derivations show both
# ([staleness](../docs/derivations.md#exactness)): the error of $e$ stays below $\rho K \Delta / (1 - \rho)$, with
# $\Delta$ the longest update, $\rho$ the largest modulus, and $K$ a number that grows with the memory, too.

# %%
for r in (0.5, 0.9, 0.97):
    assert np.isclose(angles[r][2] / angles[r][1], 10, rtol=0.1)
assert np.isclose(angles[0.99][2] / angles[0.9][2], 13, atol=0.5)

# %% [markdown]
# ## A learner
#
# Nobody's parameters drift like that. So let `TDLambda` learn trace conditioning, where one stimulus announces another
# some ten steps later, with Adam at four step sizes. In its last 1,000 steps we stop it now and then, and compare two
# gradients of its prediction $v_t$ by the parameters of its 16 units:
#
# * the one that it carries. With $\lambda_{td} = 0$ its traces are just that, (20);
# * the one that today's parameters would have. We replay the last 3,000 steps with them, and with a step size at which
#   nothing moves.

# %%
env = TraceConditioning()
STEPS, SEEDS = 30_000, 5


def learner(cell, step_size, seed=0):
    return TDLambda(cell, env.n_inputs, env.gamma, lambda_=0.0, optimizer=Adam(step_size), seed=seed)


def carried(learner):
    return np.concatenate([z.ravel() for name, z in learner.traces.items() if name.startswith("cell.")])


def measure(cell, step_size, seed):
    """(angle in degrees, squared distance from the Bayes prediction relative to that of the mean)"""
    learning, made, found = learner(cell, step_size, seed), np.zeros(STEPS), []
    observations, cumulants = env.generate(STEPS, seed=seed)
    for t in range(99, STEPS, 100):
        rows = slice(t - 99, t)
        made[rows] = learning.run(observations[rows], cumulants[rows], progress=False)
        w = {name: view.copy() for name, view in learning.parameters.items()}
        made[t] = learning.step(observations[t], cumulants[t])  # v_t is made with w; then w moves
        if t > STEPS - 1_000:
            replayed, rows = learner(cell, 1e-300), slice(t + 1 - 3_000, t + 1)
            for name, view in replayed.parameters.items():
                view[...] = w[name]
            replayed.run(observations[rows], cumulants[rows], progress=False)
            found.append(angle(carried(learning), carried(replayed)))
    best, late = env.bayes_prediction(observations), slice(STEPS // 2, STEPS)
    return np.median(found), np.mean((made - best)[late] ** 2) / best[late].var()


CELLS = {
    "memories of all lengths": LinearRTU(16, max_phase=1.0),
    "memories of 10 steps and more": LinearRTU(16, max_phase=1.0, r_min=0.9, r_max=0.999),
}
STEP_SIZES = [1e-4, 3e-4, 1e-3, 3e-3]
measured = {
    name: np.array([[measure(cell, size, seed) for seed in range(SEEDS)] for size in STEP_SIZES])
    for name, cell in CELLS.items()
}

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for k, (name, points) in enumerate(measured.items()):
    for each, values in zip(axes, np.moveaxis(points, 2, 0), strict=True):
        each.plot(STEP_SIZES, values, ".", color=COLOURS[k], markersize=4)
        each.plot(STEP_SIZES, np.median(values, axis=1), "o-", color=COLOURS[k], label=name)
axes[0].set(yscale="log", ylabel="angle, degrees", title="How stale")
axes[1].set(ylim=(0, 1.1), ylabel="error, relative to the mean's", title="How well it predicts")
for each in axes:
    each.set(xscale="log", xlabel="step size of Adam")
axes[1].legend(fontsize=8);

# %% [markdown]
# Small dots are seeds, and lines join their medians.
for n,m in measured.items(): print(n, np.median(m,1).round(3).tolist())
