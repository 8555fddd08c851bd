# %% [markdown]
# # 6. Stale
#
# Real-time recurrent learning (RTRL) carries the gradient forward, and never looks back. But a learner moves its
# parameters at every step. What it carries was begun with parameters that it no longer has.
#
# One idea: *RTRL is exact for fixed parameters; while they move, speed and length of memory make it stale.*
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
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# On logarithmic axes the lines have slope 1: ten times faster, ten times the angle. And with a memory of 100 steps the
# angle is 13 times that with a memory of 10, at the speed of 1e-4. The derivations show both
# ([staleness](../docs/derivations.md#exactness)): the error of the sensitivities to the weights stays below
# $\rho K \Delta / (1 - \rho)$, with $\Delta$ the longest update, $\rho$ the largest modulus, and $K$ a number that
# grows with the memory, too.

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
axes[1].legend(fontsize=8)
plt.show()

# %% [markdown]
# Small dots are seeds, lines join their medians. Three things to see:
#
# * At the package's step size for Adam, 3e-4, and with memories of all lengths, the gradient is off by less than half a
#   degree. "Exact for fixed parameters" is then as good as exact.
# * Longer memories are staler at every step size, as with one unit.
# * Large angles do not show in the error. At 3e-3 the longer memories have gradients that are off by more than 50
#   degrees, and predict about as well as with 1e-3: their error is near 0.2 with both.
#
# The last is no proof that staleness is harmless. A step of learning is small, and the sum of many gradients may be
# right if each is not. To know what staleness costs, one has to learn with fresh gradients for comparison.
# [PPO](../docs/ppo.md) can recompute its own, and whether that pays is [an open claim](../docs/claims.md) of the paper.

# %%
medians = {name: np.median(points, axis=1) for name, points in measured.items()}  # (step sizes, [angle, error])
every, longer = medians.values()
assert every[1, 0] < 0.5
assert (longer[:, 0] > 2 * every[:, 0]).all()
assert longer[3, 0] > 50
assert np.allclose(longer[2:, 1], 0.2, atol=0.06)

# %% [markdown]
# ## Exercise 1
#
# Let only one of the four parameters move, and the others stand still. Which sensitivities become stale? Fill in a
# table of four rows (what moves) and four columns (which sensitivity), by looking at `carry`. Two parameters leave two
# columns exact. Then let the program fill it in.
#
# ## Exercise 2
#
# Now the parameters drift for 2,000 steps, and then stop. With $r = 0.99$, after how many steps is the error of the
# sensitivities to the weights one hundredth of what it was? Work it out first. Is the error of `nu_log` gone by then?

# %% [markdown]
# ## Solution 1
#
# The sensitivities to the weights add up inputs, turned by the eigenvalue. They do not see the weights. So as long as
# only weights move, they stay exact, to the bit. Those to `nu_log` and `theta_log` see the state, which is made by the
# weights. If the eigenvalue moves, everything is stale.

# %%
w = parameters(0.9)
fresh = carry(np.tile(w, (T, 1)), xs)[1]
table = np.zeros((4, 4), bool)
for k in range(4):
    moving = np.tile(w, (T, 1))
    moving[:, k] = drift(w, 1e-4)[:, k]
    table[k] = [(mine != theirs).any() for mine, theirs in zip(carry(moving, xs)[1], fresh, strict=True)]
print("moves       nu_log  theta_log  W1  W2")
for name, row in zip(("nu_log", "theta_log", "W1", "W2"), table, strict=True):
    print(f"{name:<10}", *(f"{'stale' if is_stale else '-':>7}" for is_stale in row))
assert table.tolist() == [[True] * 4, [True] * 4, [True, True, False, False], [True, True, False, False]]

# %% [markdown]
# ## Solution 2
#
# With parameters that stand still, the error of the weights' sensitivities has no source. Each step multiplies it by
# the eigenvalue, so it shrinks by $r$: to one hundredth in $\log 100 / (-\log r)$ steps, which is 458. The error of
# `nu_log` is still at 3 % by then. It has a source for a while: the state is that of a run with other parameters.

# %%
w, more = parameters(0.99), np.random.default_rng(1).standard_normal((458, STREAMS))
assert np.isclose(np.log(100) / -np.log(0.99), 458, atol=0.5)


def errors(steps):
    """Of the four sensitivities, so many steps after the parameters have stopped."""
    after = np.tile(w, (steps, 1))
    inputs = np.concatenate([xs, more[:steps]])
    stopped = carry(np.concatenate([drift(w, 1e-4), after]), inputs)[1]
    return np.median(abs(stopped - carry(np.tile(w, (T + steps, 1)), inputs)[1]), axis=1)


left = errors(458) / errors(0)
assert np.allclose(left[2:], 0.01, atol=0.0005)
assert np.isclose(left[0], 0.03, atol=0.005)
