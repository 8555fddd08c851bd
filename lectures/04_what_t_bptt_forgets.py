# %% [markdown]
# # 4. What T-BPTT forgets
#
# Truncated backpropagation through time, T-BPTT($T$), goes back over the last $T$ steps and takes the state before
# them as given. It is simple, and used everywhere. What does it leave out?
#
# One idea: *the gradient is a sum over lags. T-BPTT($T$) has its first $T$ terms. An older cause gets no credit at
# all.*

# %%
import matplotlib.pyplot as plt
import numpy as np

from rtu_np import GRU, RTRL, TBPTT, Adam, LinearRTU, OnlineRegressor, bptt, flops, rtrl

# %% [markdown]
# ## A sum over lags
#
# From [lecture 1](01_two_ways_to_hand_out_blame.ipynb): going back from step $t$, the blame is $a_t$ at lag 0, and
# each step back multiplies it by the transposed Jacobian. The gradient is the sum of $a_s \cdot q_s$ over all steps
# $s$, where $q_s$ is the direct effect of the parameters in that step ((17) and (29) of [the
# derivations](../docs/derivations.md#other-ways-of-carrying-the-gradient)).
#
# For a recurrent trace unit (RTU) the Jacobian turns and shrinks to $r$. So the blame at lag $k$ has the length $r^k$,
# whatever the inputs were. T-BPTT(4) cuts the sum after four terms.

# %%
r, lags = 0.9, np.arange(40)
weight = r**lags

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
axes.bar(lags, weight, color="C0", label="RTRL: all lags")
axes.bar(lags[:4], weight[:4], color="C1", label="T-BPTT(4): the last four steps")
axes.set(xlabel="lag of the cause, steps", ylabel="length of the blame, $r^k$", title="Credit by lag, for $r = 0.9$")
axes.legend()
plt.show()

share = weight[:4].sum() / (1 / (1 - r))
assert np.isclose(share, 1 - r**4)
assert np.isclose(share, 0.34, atol=0.005)

# %% [markdown]
# The four terms are 0.34 of the sum of all lengths. To have 0.99 of it, the window needs 44 steps, and for a unit with
# $r = 0.99$ it needs 459. The better a unit remembers, the more of its gradient is cut off.

# %%
assert np.ceil(np.log(1 - 0.99) / np.log(0.9)) == 44
assert np.ceil(np.log(1 - 0.99) / np.log(0.99)) == 459

# %% [markdown]
# ## The gradient of a real window
#
# Here is a unit with its parameters, and 20 random streams. `rtrl` gives the exact gradient of $c_1$ after 80 steps.
# T-BPTT is `bptt` over the last $T$ steps, from the state before them.


# %%
def unit(p, c, x):
    """The real form (4) of a trace unit."""
    nu, theta = np.exp(p["nu_log"]), np.exp(p["theta_log"])
    turn = np.exp(-nu) * np.cos(theta), np.exp(-nu) * np.sin(theta)
    gamma = np.sqrt(1 - np.exp(-2 * nu))
    c = np.stack([turn[0] * c[0] - turn[1] * c[1] + gamma * p["W1"] * x, turn[0] * c[1] + turn[1] * c[0]])
    return c, c


p = {"nu_log": np.log(-np.log(np.array(r))), "theta_log": np.log(np.array(0.2)), "W1": np.array(1.0)}
look = np.array([1.0, 0.0])  # v = c_1
windows = [1, 2, 4, 8, 16, 32, 64]


def gradients(x):
    """One row for each window, the last one exact; one column for each parameter."""
    states = [np.zeros(2)]
    for x_t in x:
        states.append(unit(p, states[-1], x_t)[0])
    cut = [bptt(unit, p, states[80 - T], x[80 - T :], look) for T in windows]
    return [list(each.values()) for each in (*cut, rtrl(unit, p, states[0], x, look))]


found = np.array([gradients(x) for x in np.random.default_rng(0).standard_normal((20, 80))])
off = np.sqrt(np.mean((found[:, :-1] - found[:, -1:]) ** 2, axis=0) / np.mean(found[:, -1:] ** 2, axis=0))

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for name, errors in zip(p, off.T, strict=True):
    axes.loglog(windows, errors, "o-", label=f"by {name}")
axes.loglog(windows, r ** np.array(windows, float), "k:", linewidth=1, label="$r^T$")
axes.set(xlabel="window $T$", ylabel="relative error", title="T-BPTT(T) against the exact gradient, 20 streams")
axes.set_xticks(windows, windows)
axes.minorticks_off()
axes.legend()
plt.show()

# %% [markdown]
# Each of the three falls about as $r^T$. The reason is the staircase of
# [lecture 1](01_two_ways_to_hand_out_blame.ipynb): the terms that T-BPTT($T$) leaves out add up to
# $a_{t-T} \cdot e_{t-T}$, which is a gradient as large as any, $T$ steps ago, times $r^T$. RTRL carries it along in
# $e$; T-BPTT sets it to zero.

# %%
assert np.allclose(off[:5], r ** np.array(windows[:5])[:, None], rtol=0.5)

J = r * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
x = np.random.default_rng(0).standard_normal((20, 80))[0]
blame = np.linalg.matrix_power(J.T, 8) @ look  # at lag 8
left_out = rtrl(unit, p, np.zeros(2), x[:-8], blame)
assert np.allclose(found[0, -1] - found[0, 3], list(left_out.values()))

# %% [markdown]
# ## Does it matter?
#
# A task in which it must: now and then a pulse comes, and 10 steps later the learner has to say "now". In between,
# nothing is to be said, and no error is made. The cause of an error is 10 steps older than the error: lag 10, the
# eleventh term.
#
# The learner is the package's `OnlineRegressor` with 8 trace units, once with `RTRL()`, and with `TBPTT(T)` for many
# $T$. It learns on every step of one stream. The number is its squared error over the last quarter, relative to always
# saying the mean.


# %%
def learn(gradient, x, target, seed):
    """(the error, the median time constant of the units after learning)"""
    learner = OnlineRegressor(LinearRTU(8, "identity"), 1, gradient=gradient, optimizer=Adam(3e-3), seed=seed)
    predictions = np.ravel(learner.run(x, target, progress=False))
    last = slice(-len(x) // 4, None)
    error = np.mean((predictions - target)[last] ** 2) / np.var(target[last])
    return error, np.median(np.exp(-learner.parameters["cell.nu_log"]))


def mean_of_seeds(gradient, target):
    return np.mean([learn(gradient, x, target, seed) for seed in range(3)], axis=0)


pulses = (np.random.default_rng(0).random(40_000) < 0.05).astype(float)
delayed = np.roll(pulses, 10)
x = pulses[:, None]

windows = [1, 2, 4, 6, 8, 10, 11, 12, 14, 17, 20]
truncated, constants = np.array([mean_of_seeds(TBPTT(T), delayed) for T in windows]).T
full, constant = mean_of_seeds(RTRL(), delayed)

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(windows, truncated, "o-", label="T-BPTT(T)")
axes.axhline(full, color="C1", linestyle="--", label="RTRL")
axes.axvline(10.5, color="0.6", linewidth=1)
axes.set(xticks=windows, xlabel="window $T$, steps", ylabel="error, relative to the mean's", ylim=(0, 1.05))
axes.set_title("A window of 10 steps does not see a cause at lag 10 (mean of 3 seeds)")
axes.legend()
plt.show()

# %% [markdown]
# A cliff. Up to 10 steps, T-BPTT hardly learns. From 11 on, it learns as RTRL does. Between them is one term of a sum.
#
# The window of 10 steps is not only blind. All other terms of the sum are noise for this task, and it follows them:
# its units end with time constants of more than 100 steps, and those of RTRL with fewer than 15, near the lag.

# %%
short, long = truncated[:6], truncated[6:]
assert windows[5:7] == [10, 11]
assert (short > 0.6).all()
assert truncated[5] > 0.9
assert (long < 0.45).all()
assert full < 0.4
assert constants[5] > 100
assert constant < 15

# %% [markdown]
# ## "Then take a longer window"
#
# You can, if you know how long. A window of 11 steps costs 4,545 operations in each step, 6.5 times as many as RTRL,
# which has 696, and it has to be chosen before the task is known. RTRL has no window to choose.

# %%
assert flops(LinearRTU(8), 1, TBPTT(11)) == 4_545
assert flops(LinearRTU(8), 1, RTRL()) == 696
assert np.isclose(4_545 / 696, 6.5, atol=0.05)

# %% [markdown]
# This is no law against short windows. If an error is made at every step after a cause, one step of credit may do
# (exercise 2; [lecture 0](00_rtrl_in_20_lines.ipynb) has another case). And dense networks have no cheap RTRL
# ([lecture 2](02_why_n4.ipynb)).

# %% [markdown]
# ## Exercise 1
#
# What does T-BPTT cost relative to RTRL, for 32 units and 8 inputs, for windows of 1, 10 and 100 steps? And for a
# dense GRU with as many units?
#
# ## Exercise 2
#
# Change the task so that the error is *not* delayed: the target is a slowly fading trace of the pulses,
# $y_t = 0.95 y_{t-1} + x_t$. How large has the window to be now? Why?

# %% [markdown]
# ## Solution 1
#
# For trace units, T-BPTT(1) has 0.81 of the operations of RTRL, T-BPTT(10) 4.8 times as many, and T-BPTT(100) 43 times
# as many. For the GRU, RTRL is the expensive one: T-BPTT(100) has 0.27 of its operations.

# %%
for cell, expected in [(LinearRTU(32), [0.81, 4.8, 43]), (GRU(32), [0.0038, 0.0285, 0.27])]:
    relative = [flops(cell, 8, TBPTT(T)) / flops(cell, 8, RTRL()) for T in (1, 10, 100)]
    assert np.allclose(relative, expected, rtol=0.02)

# %% [markdown]
# ## Solution 2
#
# A few steps do. The trace is wrong right after the pulse if the unit's rate is wrong, so the error comes at lag 1, 2,
# 3 and so on, and the first terms of the sum point in the right direction. With 5 steps the error is below 0.01, as
# with RTRL.

# %%
fading = np.zeros(len(pulses))
for t in range(1, len(pulses)):
    fading[t] = 0.95 * fading[t - 1] + pulses[t]

assert mean_of_seeds(TBPTT(5), fading)[0] < 0.01
assert mean_of_seeds(RTRL(), fading)[0] < 0.01
