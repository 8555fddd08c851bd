# %% [markdown]
# # 5. Learning on every step
#
# A learner of a stream does five things at every step, and their order matters: each reads what others have written,
# today or yesterday.
#
# One idea: *a step is a list of lines; who reads what says which two may be swapped.*
#
# Each number in the text stands in an `assert`.

# %%
import matplotlib.pyplot as plt
import numpy as np
from swimlanes import draw, readings, watch

from rtu_np import SGD, LinearRTU, TDLambda
from rtu_np.plot import COLOURS, GREY

# %% [markdown]
# ## What is learned
#
# At step $t$ the learner sees $x_t$ and a cumulant $C_t$, here a reward. It predicts the discounted sum of all rewards
# to come, $G_t = C_{t+1} + \gamma_{td} C_{t+2} + \gamma_{td}^2 C_{t+3} + \ldots$, with the discount $\gamma_{td}$.
#
# In our stream a cue comes at one step in ten, at random, and three steps after each cue a reward of 1. So the learner
# has to remember the last three steps.

# %%
GAMMA, LAMBDA, GAP = 0.8, 0.9, 3
T = 10_000
cue = (np.random.default_rng(1).random(T) < 0.1).astype(float)
reward = np.concatenate([np.zeros(GAP), cue[:-GAP]])
stream = np.stack([cue, reward], axis=1)

G = np.zeros(T)
for t in reversed(range(T - 1)):
    G[t] = reward[t + 1] + GAMMA * G[t + 1]

# %% [markdown]
# ## Five lines
#
# The network is four linear recurrent trace units with a linear readout, $v_t = w \cdot y_t + b$. All that the learner
# has stands in one dictionary, `m`. Each line of a step is a function that reads and writes places of `m`.
#
# **Line 1, move.** The state goes on, $c_t = \lambda c_{t-1} + \gamma W x_t$, and so do its sensitivities,
# $S_t = \lambda S_{t-1} + F_t$. These are equations (3) and (11) of
# [the derivations](../docs/derivations.md#learning-from-a-stream), with $\lambda$ the eigenvalue of a unit, and
# $\gamma$ the scale of its input.

# %%
N, D = 4, 2


def move(m):
    w, x, c = m["cell"], m["x"], m["c"]
    nu, theta = np.exp(w["nu_log"]), np.exp(w["theta_log"])
    eigenvalue, scale = np.exp(-nu + 1j * theta), np.sqrt(-np.expm1(-2 * nu))
    drive = x @ (w["W1"] + 1j * w["W2"])
    F = {
        "nu_log": -nu * eigenvalue * c + nu * np.exp(-2 * nu) / scale * drive,
        "theta_log": 1j * theta * eigenvalue * c,
        "W1": scale * x[:, None],
        "W2": 1j * scale * x[:, None],
    }
    m["S"] = {name: eigenvalue * S + F[name] for name, S in m["S"].items()}
    m["c"] = c = eigenvalue * c + scale * drive
    m["y_tm1"] = m["y"]
    m["y"] = np.concatenate([c.real, c.imag])


# %% [markdown]
# **Line 2, compare.** The prediction of now and that of the step before, both with the readout of now, give the error
# of temporal differences (TD), $\delta_t = C_t + \gamma_{td} v_t - v_{t-1}$, (18).
#
# **Line 3, store.** By how much would $v_t$ change if the features did? By the weights that have just made it.


# %%
def compare(m):
    w, b = m["readout"]["w"], m["readout"]["b"]
    m["v"] = w @ m["y"] + b
    m["delta"] = m["C"] + GAMMA * m["v"] - (w @ m["y_tm1"] + b)


def store(m):
    m["dv_dy"] = m["readout"]["w"]


# %% [markdown]
# **Line 4, update.** All parameters move along their traces,
# $\mathbf{w} \leftarrow \mathbf{w} + \alpha \delta_t \mathbf{z}_{t-1}$, (19).
#
# **Line 5, trace.** The traces fade, and take in the gradient of $v_t$, made of the sensitivities of line 1 and the
# weights of line 3: $\mathbf{z}_t = \gamma_{td} \lambda_{td} \mathbf{z}_{t-1} + \nabla v_t$, (20).


# %%
def update(m):
    step, z = m["alpha"] * m["delta"], m["z"]
    m["cell"] = {name: w + step * z[name] for name, w in m["cell"].items()}
    m["readout"] = {name: w + step * z[name] for name, w in m["readout"].items()}


def trace(m):
    a1, a2 = m["dv_dy"].reshape(2, N)
    m["grad"] = {name: a1 * S.real + a2 * S.imag for name, S in m["S"].items()} | {"w": m["y"], "b": 1.0}
    m["z"] = {name: GAMMA * LAMBDA * z + m["grad"][name] for name, z in m["z"].items()}


# %% [markdown]
# That is the whole learner. It starts with the parameters that `TDLambda` of the package starts with.

# %%
ORDER = [move, compare, store, update, trace]


def package(seed=1):
    return TDLambda(LinearRTU(N, "identity", r_max=0.9, max_phase=1.0), D, GAMMA, LAMBDA, SGD(0.01), seed=seed)


def start(seed=1):
    cell = {name[5:]: w for name, w in package(seed).parameters.items() if name.startswith("cell.")}
    readout = {"w": np.zeros(2 * N), "b": 0.0}
    m = {"cell": cell, "readout": readout, "c": np.zeros(N, complex), "y": np.zeros(2 * N), "y_tm1": np.zeros(2 * N)}
    m["S"] = {name: np.zeros(w.shape, complex) for name, w in cell.items()}
    return m | {"z": {name: 0 * w for name, w in (cell | readout).items()}, "dv_dy": readout["w"]}


def run(m, alpha=0.01, order=ORDER):
    """The predictions up to the last step, or up to the first that is impossible: no return is above 1 / (1 - 0.8)."""
    m["alpha"], predictions = alpha, []
    for m["x"], m["C"] in zip(stream, reward, strict=True):
        with np.errstate(all="ignore"):  # some runs will explode, and that is what we want to see
            for line in order:
                line(m)
        if not abs(m["v"]) <= 5:
            break
        predictions.append(m["v"])
    return np.array(predictions)


# %% [markdown]
# ## Does it learn?
#
# Nobody knows the cues that have not come yet. They are worth a mean squared error of 0.066. Always predicting the mean
# has 0.26, and our learner 0.076 in the second half of the run.

# %%
right = run(start())
late = slice(T // 2, T - 50)
floor = 0.1 * 0.9 * GAMMA ** (2 * GAP) / (1 - GAMMA**2)


def error(predictions):
    return np.mean((predictions - G)[late] ** 2)


assert np.isclose(floor, 0.066, atol=0.0005)
assert np.isclose(G.var(), 0.26, atol=0.005)
assert np.isclose(error(right), 0.076, atol=0.0006)

# %% [markdown]
# `TDLambda` is the same learner, compiled. It makes the same predictions, to rounding.

# %%
assert np.allclose(package().run(stream, reward, progress=False), right, rtol=0, atol=1e-12)

# %% [markdown]
# ## Who reads what
#
# A dictionary can be watched: [swimlanes.py](swimlanes.py) has one that notes which line reads and writes which place.
# So the picture is drawn from the code above, not from what we think of it.
#
# Each lane is a place, and time goes to the right. A ring reads, a disc writes. A thick bar comes from a line of this
# step. A dotted line comes from the left: that value was written at the step before.

# %%
places = start() | {"x": stream[0], "C": 0.0, "v": 0.0, "delta": 0.0, "alpha": 0.01, "grad": {}}
uses = {line: watch(line, places) for line in ORDER}
swapped = [move, compare, store, trace, update]

figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained", sharey=True)
for each, order, title in zip(axes, (ORDER, swapped), ("the right order", "4 and 5 swapped"), strict=True):
    draw(each, order, uses)
    each.set_title(title)
plt.show()

# %% [markdown]
# Look at the lowest lane. In the right order the update reads yesterday's traces: they belong to $v_{t-1}$, whose error
# $\delta_t$ is. After the swap it reads today's traces, which have taken in $\nabla v_t$ already.

# %%
assert ("z", 0, 4) in readings(ORDER, uses)  # line 4 reads what no line of this step has written
assert ("z", 4, 5) in readings(swapped, uses)  # the fifth line to run reads what the fourth has written

# %% [markdown]
# ## Which neighbours may be swapped?
#
# Two lines may be swapped if neither writes what the other reads or writes. Guess, before you go on: which of the four
# pairs does not care?

# %%
pairs = {}
for k in (1, 2, 3, 4):
    (read, written), (also_read, also_written) = uses[ORDER[k - 1]], uses[ORDER[k]]
    pairs[k] = written & (also_read | also_written) | read & also_written
assert pairs == {1: {"y", "y_tm1"}, 2: set(), 3: {"readout"}, 4: {"z"}}

# %% [markdown]
# Lines 2 and 3 may be swapped. All other swaps change something. How much, the picture does not say; numbers do. A
# cross marks the end of a run.


# %%
def swap(k):
    """The order with lines k and k + 1 swapped."""
    return [*ORDER[: k - 1], ORDER[k], ORDER[k - 1], *ORDER[k + 1 :]]


swaps = {k: run(start(), order=swap(k)) for k in pairs}

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for k, colour in ((4, COLOURS[6]), (1, COLOURS[1]), (3, COLOURS[0])):
    whole = len(swaps[k]) // 200 * 200
    distance = abs(swaps[k] - right[: len(swaps[k])])[:whole].reshape(-1, 200).mean(axis=1)
    axes.semilogy(np.arange(200, whole + 1, 200) / 1000, distance, color=colour, label=f"{k} and {k + 1} swapped")
    axes.plot(whole / 1000, distance[-1], "x", color=colour, markersize=10)
axes.axhline(np.sqrt(error(right)), color=GREY, linestyle=":", label="error of the right order")
axes.set(xlabel="thousand steps", ylabel="distance from the\nright predictions", ylim=(1e-6, 10))
axes.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown]
# * **2 and 3**: not a bit changes.
# * **3 and 4**: the gradient is that of weights that did not make $v_t$. In 10,000 steps no prediction is further than
#   0.004 from the right one. It is wrong, and nobody would notice.
# * **1 and 2**: the values compared are one step old. $\delta$ is the error of $v_{t-2}$, and the traces end with
#   $\nabla v_{t-1}$. After about 3,800 steps a prediction is above 5, which no return can be.
# * **4 and 5**: the same happens after about 1,900 steps.
#
# Why does the last swap explode? The update moves $v_t$, as if $\delta_t$ were its error. But
# $\delta_t = C_t + \gamma_{td} v_t - v_{t-1}$ grows with $v_t$: a positive error raises $v_t$, and so itself. In the
# right order the update moves $v_{t-1}$, which stands in $\delta_t$ with a minus: the error shrinks.

# %%
assert np.array_equal(swaps[2], right)
assert 0.003 < abs(swaps[3] - right).max() < 0.004
assert np.isclose(len(swaps[1]), 3_800, rtol=0.05)
assert np.isclose(len(swaps[4]), 1_900, rtol=0.05)

# %% [markdown]
# ## What to take along
#
# $\mathbf{z}_{t-1}$ and $\mathbf{z}_t$ stand in the same array, and the order of the lines says which of them is meant.
# So compare a learner with one by somebody else, for thousands of steps, to the last digits.

# %% [markdown]
# ## Exercise 1
#
# Why this order? If parameters stand still ($\alpha = 0$), the updates $\delta_t \mathbf{z}_{t-1}$ of a stretch of
# stream add up to what a learner with knowledge of the future would do,
#
# $$ \sum_t \delta_t \mathbf{z}_{t-1} = \sum_t ( G_t^{\lambda} - v_t ) \nabla v_t , \qquad
# G_t^{\lambda} = C_{t+1} + \gamma_{td} \left[ (1 - \lambda_{td}) v_{t+1} + \lambda_{td} G_{t+1}^{\lambda} \right] , $$
#
# with $G_T^{\lambda} = v_T$ at the last step. Add up both sides for `W1` over 300 steps with a random readout, in the
# right order and with 4 and 5 swapped.
#
# ## Exercise 2
#
# Line 2 reads $v_{t-1}$ again, with today's weights. Write `compare_stored`, which keeps yesterday's `v` instead, and
# find a step size at which this matters.

# %% [markdown]
# ## Solution 1
#
# In the right order both sides agree, to rounding. With 4 and 5 swapped the sum is another vector, off by half of the
# length of the right one.


# %%
def both_sides(order):
    m = start() | {"alpha": 0.0}
    m["readout"]["w"] = np.random.default_rng(2).standard_normal(2 * N)
    left, v, grad = 0.0, [], []
    for t in range(300):
        m["x"], m["C"] = stream[t], reward[t]
        for line in order:
            line(m)
            if line is update:
                left = left + m["delta"] * m["z"]["W1"]
        v.append(m["v"])
        grad.append(m["grad"]["W1"])
    target, ahead = v[-1], 0.0
    for t in reversed(range(299)):
        target = reward[t + 1] + GAMMA * ((1 - LAMBDA) * v[t + 1] + LAMBDA * target)
        ahead = ahead + (target - v[t]) * grad[t]
    return left, ahead


def off(left, ahead):
    return np.linalg.norm(left - ahead) / np.linalg.norm(ahead)


print(f"off by {off(*both_sides(swap(4))):.1f} times the length of the right side")
assert off(*both_sides(ORDER)) < 1e-12
assert np.isclose(off(*both_sides(swap(4))), 0.5, atol=0.05)

# %% [markdown]
# ## Solution 2
#
# With a step size of 0.01 the stored value costs little: the error is the same to two digits. With 0.08, the right
# order learns from each of five starts, and with the stored value all five explode. An update that was too long shows
# at once in a value that is read again, and the next $\delta$ corrects it. A stored value does not know.


# %%
def compare_stored(m):
    w, b = m["readout"]["w"], m["readout"]["b"]
    v_tm1, m["v"] = m["v"], w @ m["y"] + b
    m["delta"] = m["C"] + GAMMA * m["v"] - v_tm1


stored = [move, compare_stored, *ORDER[2:]]
assert np.isclose(error(run(start() | {"v": 0.0}, order=stored)), 0.076, atol=0.001)
for seed in (1, 2, 3, 4, 5):
    assert len(run(start(seed), alpha=0.08)) == T
    assert len(run(start(seed) | {"v": 0.0}, alpha=0.08, order=stored)) < T
