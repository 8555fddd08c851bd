# %% [markdown]
# # 0. RTRL in 20 lines
#
# A recurrent network remembers. To learn, it has to know how its memory would differ, had its parameters been a little
# different **all along**. Real-time recurrent learning (RTRL) knows this at every step, without looking back.
#
# One idea: *the effect of a parameter on the state is carried along, next to the state.*
#
# Each result in the text stands in an `assert`. Change what you like, and see which of them fail.

# %%
import matplotlib.pyplot as plt
import numpy as np

from rtu_np import bptt, check_recurrence, rtrl

# %% [markdown]
# ## One unit
#
# The smallest recurrent network has one number as its state, $c_t$, and two parameters: $w$ for what it remembers, $u$
# for what it sees.
#
# $$ c_t = \tanh(w c_{t-1} + u x_t) $$
#
# It gets one pulse, at step 5, and then nothing.

# %%
x = np.zeros(30)
x[5] = 1.0


def run(w, u, x):
    """The states c_1, c_2, ... of the unit that starts at 0."""
    c, states = 0.0, []
    for x_t in x:
        c = np.tanh(w * c + u * x_t)
        states.append(c)
    return np.array(states)


w, u = 0.9, 0.5
c = run(w, u, x)

# %% [markdown]
# ## Nudge a parameter
#
# What would the state be, if $w$ were larger by one millionth? Run the unit again, and divide the change by the nudge.
# The result, $e_t = dc_t / dw$, is a curve of its own. It is called the *sensitivity* of the state to $w$.

# %%
nudge = 1e-6
nudged = (run(w + nudge, u, x) - c) / nudge

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
axes.plot(c, label="state $c_t$")
axes.plot(nudged, label="its sensitivity $e_t = dc_t / dw$")
axes.set(xlabel="step $t$", title="The pulse fades; the effect of $w$ on it first has to build up")
axes.legend()
plt.show()

# %% [markdown]
# At the pulse $w$ has no effect at all: there is nothing to remember yet. The effect is largest 9 steps later, at
# 1.25, when the state itself has fallen from 0.46 to 0.15.

# %%
assert nudged[5] == 0
assert np.argmax(nudged) == 5 + 9
assert np.isclose(nudged[14], 1.25, atol=0.005)
assert np.allclose(c[[5, 14]], [0.46, 0.15], atol=0.005)

# %% [markdown]
# ## Carry it along
#
# Running twice is a detour. Differentiate the step by $w$, and keep in mind that $c_{t-1}$ depends on $w$, too:
#
# $$ e_t = \tanh'(\cdot) ( \underbrace{w e_{t-1}}_{\text{through the past}} + \underbrace{c_{t-1}}_{\text{here and
# now}} ) $$
#
# This is all of RTRL. The new sensitivity needs the old one, and nothing older. In the letters of
# [the derivations](../docs/derivations.md#the-gradient), which show it for all units, $e_t = J_t e_{t-1} + q_t$: the
# Jacobian $J_t = \tanh'(\cdot) w$ carries the past, and $q_t$ is the direct effect of this step.

# %%
c_t, e_t, carried = 0.0, 0.0, []
for x_t in x:
    c_before, c_t = c_t, np.tanh(w * c_t + u * x_t)
    slope = 1 - c_t**2  # the derivative of tanh, by its value
    e_t = slope * (w * e_t + c_before)
    carried.append(e_t)

assert np.allclose(carried, nudged, atol=1e-5)

# %% [markdown]
# `rtrl` of the package does the same for any recurrence that you write as a function, and `bptt` finds the same number
# the other way round, backward through all stored steps. They agree up to rounding.


# %%
def forward(parameters, c, x_t):
    c = np.tanh(parameters["w"] * c + parameters["u"] * x_t)
    return c, c  # the next state, and what is seen of it


arguments = forward, {"w": np.array(w), "u": np.array(u)}, np.array(0.0), x[:15], 1.0
assert np.isclose(rtrl(*arguments)["w"], carried[14], rtol=1e-12)
assert np.isclose(bptt(*arguments)["w"], carried[14], rtol=1e-12)

# %% [markdown]
# ## Learn on every step: the 20 lines
#
# Now let a unit learn from a stream. A *teacher*, a unit with $w = 0.9$ and $u = 0.5$, gets noise. The *learner* gets
# the same noise, and sees what state the teacher is in. It starts with $w = 0$: no memory.
#
# The loss of a step is $\frac{1}{2} (c_t - \text{target})^2$. Its derivative by the state times the derivative of the
# state by the parameters is its gradient. Both are at hand at step $t$, so the learner moves at step $t$.


# %%
def learn(x, target, step_size=0.05, past=1.0):
    p = np.array([0.0, 0.1])  # w and u
    c, e = 0.0, np.zeros(2)  # the state, and its sensitivities to w and u
    history = []
    for x_t, target_t in zip(x, target, strict=True):
        c_before = c
        c = np.tanh(p[0] * c + p[1] * x_t)
        slope = 1 - c**2
        direct = np.array([c_before, x_t])
        e = slope * (past * p[0] * e + direct)
        p = p - step_size * (c - target_t) * e
        history.append(p)
    return np.array(history)


x = np.random.default_rng(0).standard_normal(1000)
target = run(0.9, 0.5, x)
history = learn(x, target)

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for k, (name, taught) in enumerate([("w", 0.9), ("u", 0.5)]):
    axes.plot(history[:, k], f"C{k}", label=f"${name}$ of the learner")
    axes.axhline(taught, color=f"C{k}", linestyle=":", label=f"${name}$ of the teacher")
axes.set(xlabel="step $t$", title="Learning on every step, from one stream")
axes.legend(ncols=2)
plt.show()

# %% [markdown]
# After 100 steps the learner's $w$ is 0.36, and after 500 steps it is the teacher's, to three digits.

# %%
assert np.isclose(history[100, 0], 0.36, atol=0.005)
assert np.allclose(history[500], [0.9, 0.5], atol=0.0005)

# %% [markdown]
# ## What it needs
#
# The loop stores `c`, `e` and `p`: five numbers, after 1,000 steps or after a billion. Backpropagation through time
# (BPTT) would have to store every state, and could give its gradient only at the end.
#
# For one unit that is all. For $n$ units that see each other, every state depends on every parameter, and `e` becomes
# a large matrix: [lecture 2](02_why_n4.ipynb). For a recurrent trace unit it stays small:
# [micro_rtrl.py](micro_rtrl.py) is the program of one such unit, on one screen.
#
# A warning. While $w$ moves, `e` still contains terms that were computed with earlier values of $w$. RTRL is *exact
# for fixed parameters*, and a little stale while they move.

# %% [markdown]
# ## Exercise 1
#
# `learn` has an argument `past`. With 0 the sensitivity is the direct effect alone: truncated BPTT with a window of
# one step. How many steps does the learner need until $w$ is within 0.01 of the teacher's, with `past=1.0` and with
# `past=0.0`? Why does it arrive at all?
#
# ## Exercise 2
#
# Give the unit a bias, $c_t = \tanh(w c_{t-1} + u x_t + b)$. What is the sensitivity to $b$? Write it as a step that
# carries sensitivities, and let `check_recurrence` look at it. What does the checker say if you forget the past?

# %% [markdown]
# ## Solution 1
#
# 297 steps with the past, and 570 without. It arrives, since the target shows an error at every step: a wrong $w$ is
# noticed one step after the pulse, and that is what the direct effect sees. [Lecture 4](04_what_t_bptt_forgets.ipynb)
# has a task in which the error comes later than the window reaches.

# %%
steps = {past: np.argmax(abs(learn(x, target, past=past)[:, 0] - 0.9) < 0.01) for past in (1.0, 0.0)}
assert steps == {1.0: 297, 0.0: 570}

# %% [markdown]
# ## Solution 2
#
# The bias acts like an input that is always 1, so its direct effect is 1.


# %%
def with_bias(p, c, x_t):
    c = np.tanh(p["w"] * c + p["u"] * x_t + p["b"])
    return c, c


def carrying(p, c, sensitivities, x_t, past=1.0):
    direct = {"w": c, "u": x_t, "b": 1.0}
    c, y = with_bias(p, c, x_t)
    e = {name: (1 - c**2) * (past * p["w"] * sensitivities[name] + direct[name]) for name in p}
    return c, y, e


def forgetful(p, c, sensitivities, x_t):
    return carrying(p, c, sensitivities, x_t, past=0.0)


start = {"w": np.array(0.9), "u": np.array(0.5), "b": np.array(0.1)}, np.array(0.0), x[:20]
assert check_recurrence(with_bias, *start, carrying).passed
report = check_recurrence(with_bias, *start, forgetful)
assert not report.passed
print(report)
