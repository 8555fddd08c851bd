# %% [markdown]
# # 2. Why n⁴, and why not here
#
# RTRL carries the sensitivity of every state to every parameter. For a dense network of $n$ units this is a matrix of
# about $n$ by $n^2$, and moving it on by one step costs about $n^4$ multiplications. This is why RTRL, known since
# 1989, is hardly used.
#
# One idea: *who can influence whom is a picture. If the picture stays sparse, RTRL is cheap, and still exact.*

# %%
import matplotlib.pyplot as plt
import numpy as np

from rtu_np import GRU, RTRL, LinearRTU, VanillaRNN, flops, rtrl

# %% [markdown]
# ## Two networks
#
# Both are plain functions of their parameters, their state and their input. In the *vanilla* network (33) every unit
# sees every other one. In the layer of *recurrent trace units* (RTUs, (4)) each unit is a pair of numbers, $c_1$ and
# $c_2$, and sees nothing but itself.

# %%
n, d = 4, 2  # units, inputs


def vanilla(p, h, x):
    recurrent, weights, b = p[: n * n].reshape(n, n), p[n * n : n * (n + d)].reshape(d, n), p[n * (n + d) :]
    h = np.tanh(h @ recurrent + x @ weights + b)
    return h, h


def rtus(p, c, x):
    """Units one after the other: c1 and c2 of the first, c1 and c2 of the second, ..."""
    own = p.reshape(n, 2 + 2 * d)  # of each unit its nu_log, theta_log, W1, W2
    nu, theta = np.exp(own[:, 0]), np.exp(own[:, 1])
    gamma = np.sqrt(1 - np.exp(-2 * nu))
    turned = np.exp(-nu + 1j * theta)
    c1, c2 = c[0::2], c[1::2]
    z1 = turned.real * c1 - turned.imag * c2 + gamma * (own[:, 2 : 2 + d] @ x)
    z2 = turned.real * c2 + turned.imag * c1 + gamma * (own[:, 2 + d :] @ x)
    c = np.stack([z1, z2], axis=1).ravel()
    return c, c


# %% [markdown]
# ## S, step by step
#
# The matrix of sensitivities $S_t$ has a row for each number of the state, and a column for each parameter. One step
# of RTRL is (28),
#
# $$ S_t = J_t S_{t-1} + F_t . $$
#
# $J_t$ says how the old state enters the new one, and $F_t$ how the parameters do directly. Let us not derive them,
# but wiggle: change each number a little, and see what changes.


# %%
def wiggle(f, at, width=1e-6):
    """The matrix of derivatives of f, by central differences."""
    columns = [(f(at + nudge) - f(at - nudge)) / (2 * width) for nudge in width * np.eye(at.size)]
    return np.stack(columns, axis=1)


def sensitivities(forward, p, state, inputs):
    S, found = np.zeros((state.size, p.size)), []
    for x in inputs:
        J = wiggle(lambda state, x=x: forward(p, state, x)[0], state)
        F = wiggle(lambda p, x=x, state=state: forward(p, state, x)[0], p)
        S = J @ S + F
        state, _ = forward(p, state, x)
        found.append((S, J, F))
    return found


rng = np.random.default_rng(1)
inputs = rng.standard_normal((6, d))
p_vanilla = rng.standard_normal(n * (n + d + 1)) * 0.5
p_rtus = rng.standard_normal(n * (2 + 2 * d)) * 0.5
of_vanilla = sensitivities(vanilla, p_vanilla, 0.5 * np.ones(n), inputs)
of_rtus = sensitivities(rtus, p_rtus, 0.5 * np.ones(2 * n), inputs)

# %% [markdown]
# ## The picture
#
# Dark is a large effect, pale a small one, white exactly zero.


# %%
def shades(matrix):
    size = abs(matrix) / abs(matrix).max()
    return np.where(size > 1e-9, 0.15 + 0.85 * np.sqrt(size), 0)


figure, axes = plt.subplots(2, 3, figsize=(9, 4.2), layout="constrained")
for row, (name, found) in enumerate([("vanilla network", of_vanilla), ("trace units", of_rtus)]):
    for column, t in enumerate((0, 1, 5)):
        S = found[t][0]
        axes[row, column].imshow(shades(S), cmap="Greys", aspect="auto", vmin=0)
        axes[row, column].set_title(f"{name}, step {t + 1}", fontsize=10)
        axes[row, column].set(xticks=[], yticks=range(S.shape[0]), yticklabels=[])
    axes[row, 0].set_ylabel("state")
for one in axes[1]:
    one.set_xlabel("parameter")
plt.show()

# %% [markdown]
# In the first step, both are sparse: parameters act on their own unit. In the second step the vanilla network mixes
# all rows, and from then on every number of $S$ counts. The trace units never mix. Their $S$ is zero but for a block
# for each unit, for ever.

# %%


def filled(matrix):
    """The share of entries that are not zero."""
    return np.mean(abs(matrix) > 1e-9)


assert filled(of_vanilla[0][0]) == 0.25  # one unit of four
assert filled(of_vanilla[1][0]) == 1.0
assert all(filled(S) <= 0.25 for S, _, _ in of_rtus)

# %% [markdown]
# The reason is $J$: the product $J S$ can only fill the rows that $J$ connects. For the vanilla network it is full,
# for trace units it has a 2 by 2 block for each unit, a turn and a shrink.

# %%
figure, axes = plt.subplots(1, 2, figsize=(5, 2.4), layout="constrained")
for one, (name, found) in zip(axes, [("vanilla network", of_vanilla), ("trace units", of_rtus)], strict=True):
    one.imshow(shades(found[5][1]), cmap="Greys", vmin=0)
    one.set(title=f"$J$, {name}", xticks=[], yticks=[])
plt.show()

assert filled(of_vanilla[5][1]) == 1.0
assert filled(of_rtus[5][1]) == 0.25

# %% [markdown]
# Is the sparse $S$ the exact one? Yes: nothing was cut away. The package's `rtrl`, which knows nothing of blocks,
# finds the same row.

# %%
first_row = rtrl(rtus, p_rtus, 0.5 * np.ones(2 * n), inputs, np.eye(2 * n)[0])
assert np.allclose(first_row, of_rtus[5][0][0], atol=1e-7)

# %% [markdown]
# ## Count
#
# Full $S$: $n$ rows, about $n^2$ columns, and each entry of $J S$ is a sum over $n$: $n^4$. In blocks: a unit has
# $2 + 2 d$ parameters, and two numbers of state, so all of $S$ has about $4 n d$ numbers, and each needs a few
# multiplications. `flops` of the package counts the operations of one step of learning, to the last one.

# %%
sizes = np.array([8, 16, 32, 64, 128])
cost = {
    "vanilla network": [flops(VanillaRNN(int(k)), 8, RTRL()) for k in sizes],
    "trace units": [flops(LinearRTU(int(k)), 8, RTRL()) for k in sizes],
}

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for name, operations in cost.items():
    axes.loglog(sizes, operations, "o-", label=name)
axes.loglog(sizes, sizes**4.0, "k:", linewidth=1, label="$n^4$")
axes.set(xlabel="units $n$, with 8 inputs", ylabel="operations per step", xticks=sizes, xticklabels=sizes)
axes.minorticks_off()
axes.legend()
plt.show()

# %% [markdown]
# From 64 to 128 units, the cost of the vanilla network grows 15 times, near $2^4$. That of trace units doubles. With
# 32 units the one costs 2,788,320 operations, and the other 7,712: 362 times less.

# %%
growth = {name: operations[-1] / operations[-2] for name, operations in cost.items()}
assert np.isclose(growth["vanilla network"], 15, atol=0.5)
assert np.isclose(growth["trace units"], 2, atol=0.01)
assert (cost["vanilla network"][2], cost["trace units"][2]) == (2_788_320, 7_712)
assert np.isclose(2_788_320 / 7_712, 362, atol=0.5)

# %% [markdown]
# ## Did we lose anything?
#
# Among linear networks, almost nothing: nearly every matrix $A$ of a linear recurrence $h_t = A h_{t-1} + B x_t$ has a
# basis in which it is diagonal, and each pair of its complex eigenvalues is one trace unit ((1) to (3) of
# [the derivations](../docs/derivations.md#from-rnn-to-rtu)). A dense linear network *is* a layer of trace units, in
# other coordinates.
#
# What is lost is a nonlinear exchange between units from step to step. A layer behind the recurrence brings
# nonlinearity back and has no memory, so it adds nothing to $S$. But a second *recurrent* layer on top does:
# parameters of the lower layer act on the states of the upper one, and $S$ gets blocks for these (31).

# %% [markdown]
# ## Exercise 1
#
# Between nobody and everybody: a ring. In a network of 8 units, each sees itself and its left neighbour. After how
# many steps is $S$ full? How many of its numbers are not zero after step 1, 2, 3?
#
# ## Exercise 2
#
# A gated recurrent unit (GRU) with $n$ units and $d$ inputs has $3 n (n + d + 2)$ parameters. How many units may a GRU
# with 64 inputs have, if its $S$, in float64, is to fit in a gigabyte, $10^9$ bytes? How many operations does it then
# need for one step, and for how many trace units would they do?

# %% [markdown]
# ## Solution 1
#
# An effect moves on by one unit in a step. So after step $t$, the parameters of a unit have reached $t$ units, and $S$
# is full after 8 steps. (Some keep only what is there after one step or two, and drop the rest: the approximation is
# called SnAp.)

# %%
units = 8
ring = rng.standard_normal((units, 2))  # of each unit its weight of itself, and of its left neighbour


def in_a_ring(p, h, x):
    h = np.tanh(p.reshape(units, 2)[:, 0] * h + p.reshape(units, 2)[:, 1] * np.roll(h, 1) + x)
    return h, h


shares = [filled(S) for S, _, _ in sensitivities(in_a_ring, ring.ravel(), 0.5 * np.ones(units), np.ones((8, 1)))]
print(np.array(shares) * units)
assert np.allclose(shares, np.arange(1, 9) / units)

# %% [markdown]
# ## Solution 2
#
# 326 units. One step then needs 82 billion operations, seconds of a processor's core. They would do for 55 million
# trace units.

# %%
fits = [k for k in range(1, 1000) if k * 3 * k * (k + 64 + 2) * 8 <= 1e9]
assert max(fits) == 326
operations = flops(GRU(326), 64, RTRL())
trace_units = operations / flops(LinearRTU(1000), 64) * 1000
print(f"{operations:,} operations, as of {trace_units:,.0f} trace units")
assert np.isclose(operations / 1e9, 82, atol=0.5)
assert np.isclose(trace_units / 1e6, 55, atol=0.5)
