# %% [markdown]
# # 5. Learning on every step
#
# A learner of a stream does five things at every step. They are short, and their order matters: each reads what others
# have written, today or yesterday.
#
# One idea: *a step is a list of lines; draw who reads what, and you see which two lines may be swapped.*
#
# Each number in the text stands in an `assert`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from rtu_np import SGD, LinearRTU, TDLambda
from rtu_np.plot import COLOURS, GREY

# %% [markdown]
# ## What is learned
#
# At step $t$ the learner sees $x_t$ and a cumulant $C_t$, a number like a reward. It predicts the discounted sum of all
# cumulants to come, $G_t = C_{t+1} + \gamma C_{t+2} + \gamma^2 C_{t+3} + \ldots$
#
# In our stream a cue comes at one step in ten, at random, and three steps after each cue a reward of 1. So there is
# something to remember: the cues of the last three steps.

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
# The network is a layer of four linear recurrent trace units, with a linear readout $v_t = w \cdot y_t + b$. All that
# the learner has stands in one dictionary, `m`. Each line of a step is a function that reads some places of `m`, and
# writes some.
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
# of temporal differences (TD), $\delta_t = C_t + \gamma v_t - v_{t-1}$, (18). $\gamma$ is the discount from here on.
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
# **Line 4, update.** All parameters move along their traces, $\mathbf{w} \leftarrow \mathbf{w} + \alpha \delta_t
# \mathbf{z}_{t-1}$, (19).
#
# **Line 5, trace.** The traces fade, and take in the gradient of the prediction of now,
# $\mathbf{z}_t = \gamma \lambda_{td} \mathbf{z}_{t-1} + \nabla v_t$, (20). The gradient comes from the sensitivities of
# line 1 and the weights of line 3.


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
# That is the whole learner. What is left is to start it, and to run it.

# %%
ORDER = [move, compare, store, update, trace]


def start(seed=0):
    rng = np.random.default_rng(seed)
    cell = {"nu_log": np.log(-np.log(np.sqrt(rng.uniform(0, 1, N)))), "theta_log": np.log(rng.uniform(0, 1, N))}
    cell |= {name: rng.standard_normal((D, N)) / np.sqrt(D) for name in ("W1", "W2")}
    readout = {"w": np.zeros(2 * N), "b": 0.0}
    m = {"cell": cell, "readout": readout, "c": np.zeros(N, complex), "y": np.zeros(2 * N), "y_tm1": np.zeros(2 * N)}
    m["S"] = {name: np.zeros(w.shape, complex) for name, w in cell.items()}
    return m | {"z": {name: 0 * w for name, w in (cell | readout).items()}, "dv_dy": readout["w"]}


def run(m, alpha=0.01, order=ORDER, steps=T):
    """The predictions up to the last step, or up to the first that is impossible: no return is above 1 / (1 - 0.8)."""
    m["alpha"], predictions = alpha, []
    for t in range(steps):
        m["x"], m["C"] = stream[t], reward[t]
        for line in order:
            line(m)
        if abs(m["v"]) > 5:
            break
        predictions.append(m["v"])
    return np.array(predictions)


# %% [markdown]
# ## Does it learn?
#
# No learner can know the cues that have not come yet. They are worth a mean squared error of 0.066. A learner that
# always predicts the mean has 0.26, and ours has 0.074 in the second half of the run.

# %%
right = run(start())
late = slice(T // 2, T - 50)
floor = 0.1 * 0.9 * GAMMA ** (2 * GAP) / (1 - GAMMA**2)


def error(predictions):
    return np.mean((predictions - G)[late] ** 2)


print(f"unknowable {floor:.3f}, always the mean {G.var():.2f}, learned {error(right):.3f}")
assert np.isclose(floor, 0.066, atol=0.0005)
assert np.isclose(G.var(), 0.26, atol=0.005)
assert np.isclose(error(right), 0.074, atol=0.001)

# %% [markdown]
# Is it right? `TDLambda` of the package is the same learner, compiled. From the same start it makes the same
# predictions, to 12 digits.

# %%
learner = TDLambda(LinearRTU(N, "identity"), D, GAMMA, LAMBDA, SGD(0.01))
for name, view in learner.parameters.items():
    block, parameter = name.split(".")
    view[...] = start()[block][parameter]
package = learner.run(stream, reward, progress=False)
assert np.allclose(package, right, rtol=0, atol=1e-12)

# %% [markdown]
# ## Who reads what
#
# A dictionary can be watched. This one notes which line reads which place, and writes which.


# %%
class Watched(dict):
    def __init__(self, m):
        super().__init__(m)
        self.read, self.written = [], []

    def __getitem__(self, name):
        if name not in self.written:  # what a line writes itself is not news to it
            self.read.append(name)
        return super().__getitem__(name)

    def __setitem__(self, name, value):
        self.written.append(name)
        super().__setitem__(name, value)


def watch(line):
    """(what a line reads, what it writes)"""
    m = Watched(start() | {"x": stream[0], "C": 0.0, "v": 0.0, "delta": 0.0, "alpha": 0.01, "grad": {}})
    line(m)
    return set(m.read), set(m.written)


uses = {line: watch(line) for line in ORDER}
assert uses[update] == ({"alpha", "delta", "z", "cell", "readout"}, {"cell", "readout"})

# %% [markdown]
# Now the picture. Each lane is a place, and time goes to the right. A ring reads, a disc writes. A thick bar leads from
# the step's own writing to a reading. A dotted line leads from the left: that value was written at the step before.

# %%
LANES = ["x", "c", "S", "y_tm1", "y", "cell", "readout", "C", "v", "delta", "dv_dy", "z"]
LABELS = ["$x_t$", "$c$", "$S$", "$y_{t-1}$", "$y_t$", "$W, \\lambda$", "$w, b$", "$C_t$", "$v_t$"]
LABELS += ["$\\delta_t$", "$\\partial v_t / \\partial y_t$", "$\\mathbf{z}$"]


def arrows(order):
    """(lane, from, to) of each reading; `from` is the line that has written last, 0 if that was at an earlier step."""
    found = []
    for k, line in enumerate(order, start=1):
        for lane in uses[line][0] & set(LANES):
            wrote = [j for j in range(1, k) if lane in uses[order[j - 1]][1]]
            given = k - 0.3 if lane in "xC" else 0  # it arrives from outside
            found.append((LANES.index(lane), wrote[-1] if wrote else given, k))
    return sorted(found)


def swimlanes(axes, order):
    for lane, source, k in arrows(order):
        today, earlier = {"color": COLOURS[0], "linewidth": 4, "alpha": 0.5}, {"color": COLOURS[6], "linestyle": ":"}
        axes.plot([source, k], [lane, lane], zorder=1, **(today if source else earlier))
    for k, line in enumerate(order, start=1):
        read, written = ([LANES.index(name) for name in names if name in LANES] for names in uses[line])
        axes.plot([k] * len(written), written, "o", color=COLOURS[0], markersize=9)
        axes.plot([k] * len(read), read, "o", color="k", markerfacecolor="w", markersize=6)
    axes.hlines(range(len(LANES)), 0, 5.4, color=GREY, linewidth=0.5, alpha=0.4)
    axes.set_xticks(range(1, 6), [f"{ORDER.index(line) + 1}\n{line.__name__}" for line in order])
    axes.set(xlim=(0, 5.4), ylim=(len(LANES) - 0.5, -0.5))


swapped = [move, compare, store, trace, update]
figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained", sharey=True)
for each, order, title in zip(axes, (ORDER, swapped), ("the right order", "4 and 5 swapped"), strict=True):
    swimlanes(each, order)
    each.set_title(title)
axes[0].set_yticks(range(len(LANES)), LABELS)
plt.show()

# %% [markdown]
# Look at the lowest lane. In the right order the update reads yesterday's traces: they belong to $v_{t-1}$, whose error
# $\delta_t$ is. After the swap it reads today's traces, which have taken in $\nabla v_t$ already. All other lanes are
# the same.

# %%
moved = {(LANES[lane], source == 0) for lane, source, k in arrows(ORDER) if k == 4}
assert ("z", True) in moved
assert ("z", 4, 5) in [(LANES[lane], source, k) for lane, source, k in arrows(swapped)]

# %% [markdown]
# ## Which neighbours may be swapped?
#
# Two lines may be swapped if neither writes what the other reads or writes. There are four pairs of neighbours. Guess,
# before you go on: which pair does not care?


# %%
def shared(one, other):
    """The places through which the order of two lines matters."""
    (read, written), (also_read, also_written) = uses[one], uses[other]
    return written & (also_read | also_written) | read & also_written


pairs = {k: shared(ORDER[k - 1], ORDER[k]) for k in (1, 2, 3, 4)}
assert pairs == {1: {"y", "y_tm1"}, 2: set(), 3: {"readout"}, 4: {"z"}}

# %% [markdown]
# Lines 2 and 3 have no place in common but one that both read. Swapping them is allowed. All other swaps change
# something. How much? That the picture does not say; numbers do. A cross marks where a run ends, since it predicts what
# is impossible.


# %%
def swap(k):
    """The order with lines k and k + 1 swapped."""
    return [*ORDER[: k - 1], ORDER[k], ORDER[k - 1], *ORDER[k + 1 :]]


swaps = {k: run(start(), order=swap(k)) for k in pairs}


def distance(k):
    """From the predictions of the right order, in means of 200 steps."""
    both = min(len(swaps[k]), T) // 200 * 200
    return abs(swaps[k] - right[: len(swaps[k])])[:both].reshape(-1, 200).mean(axis=1)


figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for k, colour in ((4, COLOURS[6]), (1, COLOURS[1]), (3, COLOURS[0])):
    axes.semilogy(200 * np.arange(1, len(distance(k)) + 1), distance(k), color=colour, label=f"{k} and {k + 1} swapped")
    if len(swaps[k]) < T:
        axes.plot(200 * len(distance(k)), distance(k)[-1], "x", color=colour, markersize=10)
axes.axhline(np.sqrt(error(right)), color=GREY, linestyle=":", label="error of the right order")
axes.set(xlabel="step", ylabel="distance from\nthe right predictions", xlim=(0, T), ylim=(1e-6, 10))
axes.legend(fontsize=8, loc="center right")
plt.show()

# %% [markdown]
# * **2 and 3**: not a bit changes.
# * **3 and 4**: the gradient is that of weights that did not make $v_t$: they have moved by one update since. After
#   10,000 steps no prediction has been further than 0.003 from the right one. It is wrong, and nobody would notice.
# * **1 and 2**: the values compared are one step old. $\delta$ is the error of $v_{t-2}$, and the traces end with
#   $\nabla v_{t-1}$. After about 2,800 steps a prediction is above 5, which no return can be.
# * **4 and 5**: the same happens after about 1,400 steps.
#
# Why does the last swap explode? The update moves $v_t$ by $\alpha \delta_t \lVert \nabla v_t \rVert^2$, as if
# $\delta_t$ were its error. But $\delta_t = C_t + \gamma v_t - v_{t-1}$ grows with $v_t$. A positive error raises
# $v_t$, and this raises the error. In the right order the update moves $v_{t-1}$, which stands in $\delta_t$ with a
# minus: the error shrinks.

# %%
assert np.array_equal(swaps[2], right)
assert 1e-4 < abs(swaps[3] - right).max() < 0.003
assert np.isclose(len(swaps[1]), 2_800, rtol=0.15)
assert np.isclose(len(swaps[4]), 1_400, rtol=0.15)

# %% [markdown]
# ## What to take along
#
# A line of a learner has a time as well as a formula. $\mathbf{z}_{t-1}$ and $\mathbf{z}_t$ stand in the same array,
# and the order of the lines says which of them is meant. No type checker sees that, and a learner with two lines
# swapped often learns, a little worse. So test a learner against one that was written by somebody else, for a few
# thousand steps, to the last digits: here, `TDLambda`.

# %% [markdown]
# ## Exercise 1
#
# Why this order? If parameters stand still ($\alpha = 0$), the updates $\delta_t \mathbf{z}_{t-1}$ of a stretch of
# stream add up to what a learner with knowledge of the future would do,
#
# $$ \sum_t \delta_t \mathbf{z}_{t-1} = \sum_t ( G_t^{\lambda} - v_t ) \nabla v_t , \qquad
# G_t^{\lambda} = C_{t+1} + \gamma \left[ (1 - \lambda_{td}) v_{t+1} + \lambda_{td} G_{t+1}^{\lambda} \right] , $$
#
# with $G_T^{\lambda} = v_T$ at the last step. Add up both sides for `W1` over 300 steps with a random readout, in the
# right order and with 4 and 5 swapped.
#
# ## Exercise 2
#
# Line 2 reads $v_{t-1}$ again, with today's weights. It is tempting to keep yesterday's `v` instead. Write that as
# `compare_stored`, and find a step size at which it matters.

# %% [markdown]
# ## Solution 1
#
# In the right order both sides agree to 12 digits. With 4 and 5 swapped the sum is another vector, off by 1.7 times the
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
assert np.isclose(off(*both_sides(swap(4))), 1.7, atol=0.05)

# %% [markdown]
# ## Solution 2
#
# With a step size of 0.01 the stored value costs little: the error is the same to three digits. With 0.1, the right
# order still learns, to an error of 0.10, and the stored value explodes after about 330 steps. An update that was too
# long shows at once in a value that is read again, and the next $\delta$ corrects it. A stored value does not know.


# %%
def compare_stored(m):
    w, b = m["readout"]["w"], m["readout"]["b"]
    v_tm1, m["v"] = m["v"], w @ m["y"] + b
    m["delta"] = m["C"] + GAMMA * m["v"] - v_tm1


order = [move, compare_stored, *ORDER[2:]]
assert np.isclose(error(run(start() | {"v": 0.0}, order=order)), 0.074, atol=0.001)
assert np.isclose(error(run(start(), alpha=0.1)), 0.10, atol=0.005)
assert np.isclose(len(run(start() | {"v": 0.0}, alpha=0.1, order=order)), 330, rtol=0.15)
