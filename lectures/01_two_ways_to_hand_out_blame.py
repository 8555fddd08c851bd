# %% [markdown]
# # 1. Two ways to hand out blame
#
# A network was wrong at step $T$. Which of its earlier steps are to blame, and how much? There are two ways to find
# out. *Forward*: carry the effect of each cause along until the error comes. *Backward*: carry the blame of the error
# back to each cause.
#
# One idea: *the two meet at every step, and wherever they meet, their product is the same.*

# %%
import io

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image
from PIL import Image as Picture

from rtu_np import bptt, rtrl

# %% [markdown]
# ## A unit, a cause, and an error
#
# Our unit is a recurrent trace unit without its nonlinearity: two numbers, $c_1$ and $c_2$, which each step turns by
# an angle $\theta$ and shrinks to $r$ of their length ([derivations](../docs/derivations.md), (4)). The matrix that
# does so is the Jacobian $J = dc_t / dc_{t-1}$.

# %%
r, theta, T = 0.93, 0.35, 24
J = r * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])

# %% [markdown]
# **The cause.** At step 0 something pushes the state by a small $q = (1, 0)$.
#
# **The error.** At step 24 we look at $v = c_1 + c_2$ and would like it to be larger. So the derivative of $v$ by the
# state is $(1, 1)$ there.
#
# How much of $v$ at step 24 goes back to the push at step 0?
#
# ## Forward: an effect grows old
#
# Let $e_t$ be what the push has made of the state at step $t$, per unit of pushing. It starts as $q$, and each step of
# the unit turns and shrinks it: $e_t = J e_{t-1}$. At the end we look at it with the eyes of the error.

# %%
e = np.zeros((T + 1, 2))
e[0] = [1.0, 0.0]
for t in range(1, T + 1):
    e[t] = J @ e[t - 1]

forward_answer = e[T] @ [1.0, 1.0]

# %% [markdown]
# ## Backward: blame goes back in time
#
# Let $a_t = dv / dc_t$ be how much $v$ would change if the state at step $t$ were pushed. It starts at the end as
# $(1, 1)$, and goes back by the transposed matrix: $a_{t-1} = J^\top a_t$. At the start we look at the push with it.

# %%
a = np.zeros((T + 1, 2))
a[T] = [1.0, 1.0]
for t in range(T, 0, -1):
    a[t - 1] = J.T @ a[t]

backward_answer = a[0] @ [1.0, 0.0]

assert np.isclose(forward_answer, backward_answer, rtol=1e-12)
assert np.isclose(forward_answer, 0.0588, atol=0.00005)

# %% [markdown]
# Both answer 0.0588. One went from the first step to the last, the other from the last to the first, over the same 24
# matrices.
#
# ## They meet at every step
#
# Stop anywhere in between. The effect has come from the left as far as $t$, the blame has come from the right as far
# as $t$. Their product there is the answer again:
#
# $$ a_t \cdot e_t = a_t \cdot J e_{t-1} = J^\top a_t \cdot e_{t-1} = a_{t-1} \cdot e_{t-1} . $$

# %%
product = (a * e).sum(axis=1)

figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
axes[0].plot(np.linalg.norm(e, axis=1), label="effect $|e_t|$")
axes[0].plot(np.linalg.norm(a, axis=1), label="blame $|a_t|$")
axes[0].set(xlabel="step $t$", title="One fades, one builds up")
axes[0].legend()
axes[1].plot(product, "C2")
axes[1].set(xlabel="step $t$", title=r"$a_t \cdot e_t$ stays", ylim=(0, 0.1))
plt.show()

assert np.allclose(product, forward_answer, rtol=1e-12)
assert np.allclose(np.linalg.norm(e, axis=1), r ** np.arange(T + 1))

# %% [markdown]
# ## Watch it
#
# In the plane of the state, both arrows turn the same way and keep the angle between them. One shrinks by $r$ in each
# step, the other grows by $1 / r$. (The blame is drawn forward in time here. It is computed from its end.)


# %%
def draw(axes, t):
    axes.plot(*e[: t + 1].T, "C0.-", linewidth=0.5, markersize=3)
    axes.plot(*a[: t + 1].T, "C1.-", linewidth=0.5, markersize=3)
    for arrow, colour in ((e[t], "C0"), (a[t], "C1")):
        axes.annotate("", arrow, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 2})
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axes.set_title(f"step {t}:  $a \\cdot e$ = {a[t] @ e[t]:.4f}", fontsize=9)


figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained", sharey=True)
for one, t in zip(axes, (0, 8, 16, 24), strict=True):
    draw(one, t)
axes[0].set(xlabel="$c_1$", ylabel="$c_2$")
figure.suptitle("effect $e_t$ (blue), blame $a_t$ (orange)", fontsize=10)
plt.show()

# %% [markdown]
# The same, moving:

# %%
frames = []
for t in range(T + 1):
    figure, axes = plt.subplots(figsize=(3.2, 3.2), dpi=90, layout="constrained")
    draw(axes, t)
    figure.canvas.draw()
    frames.append(Picture.fromarray(np.array(figure.canvas.buffer_rgba())).convert("RGB"))
    plt.close(figure)

colours = frames[-1].quantize(16)  # the same 16 for all frames, so that the file stays small
frames = [frame.quantize(palette=colours, dither=0) for frame in frames]
file = io.BytesIO()
frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=250, loop=0)
Image(data=file.getvalue(), format="png")

# %% [markdown]
# ## Many causes: a parameter
#
# A push acts once. A parameter acts at every step. Take the weight $W_1$ of the unit's input, with inputs
# $x_1, \ldots, x_T$: at step $t$ it adds $\gamma W_1 x_t$ to $c_1$. So its direct effect at step $t$ is
# $q_t = (\gamma x_t, 0)$, and its whole effect is carried by $e_t = J e_{t-1} + q_t$: (12) of the derivations. Now
#
# $$ a_t \cdot e_t = a_{t-1} \cdot e_{t-1} + a_t \cdot q_t , $$
#
# a staircase. Each step up or down is the part that one moment has in the gradient.

# %%
x = np.random.default_rng(3).standard_normal(T)
gamma = np.sqrt(1 - r**2)
q = np.stack([gamma * x, np.zeros(T)], axis=1)

e = np.zeros((T + 1, 2))
for t in range(1, T + 1):
    e[t] = J @ e[t - 1] + q[t - 1]

height = (a * e).sum(axis=1)  # of the staircase
step_up = (a[1:] * q).sum(axis=1)

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.bar(np.arange(1, T + 1), step_up, color="C1", label=r"backward: the part of step $t$, $a_t \cdot q_t$")
axes.step(np.arange(T + 1), height, "C0", where="post", label=r"forward: all parts up to $t$, $a_t \cdot e_t$")
axes.axhline(0, color="0.5", linewidth=0.5)
axes.set(xlabel="step $t$", title="One staircase: RTRL holds its height, BPTT adds its steps")
axes.legend()
plt.show()

assert np.allclose(np.diff(height), step_up)
assert np.isclose(height[T], step_up.sum())

# %% [markdown]
# At the last step $a_T$ is known, so $a_T \cdot e_T$ is the gradient, and no past is needed: that is RTRL. Or add up
# all parts, which needs $q_t$ of all steps: that is backpropagation through time (BPTT). The package has both for any
# recurrence, and both agree with our staircase.


# %%
def forward(W1, c, x_t):
    c = np.stack([J[0] @ c + gamma * W1 * x_t, J[1] @ c])
    return c, c


for method in (rtrl, bptt):
    assert np.isclose(method(forward, np.array(0.7), np.zeros(2), x, np.ones(2)), height[T], rtol=1e-10)

# %% [markdown]
# ## Which of the two?
#
# | | carries | stores | can answer |
# |---|---|---|---|
# | forward, RTRL | $e$: one number for each pair of state and parameter | nothing of the past | at every step |
# | backward, BPTT | $a$: one number for each state | all steps since the start | at the end |
#
# With many parameters and a short past, backward is cheaper. On a stream that never ends, only forward can go on; the
# question is what $e$ costs, and [lecture 2](02_why_n4.ipynb) answers it. Truncated BPTT goes backward, but only a few
# steps: [lecture 4](04_what_t_bptt_forgets.ipynb).

# %% [markdown]
# ## Exercise 1
#
# Let the unit be nonlinear: $c_t = \tanh(J c_{t-1})$, number by number ((8) of the derivations), with a push of size 1
# at the start. Now the Jacobian differs from step to step. Is $a_t \cdot e_t$ still constant? Are the lengths still
# powers of $r$?
#
# ## Exercise 2
#
# Two errors: $v$ is looked at in step 12, too, and the sum of both is what counts. What does $a_t \cdot e_t$ do at
# step 12, for one push at step 0?

# %% [markdown]
# ## Solution 1
#
# The product is constant: nothing in its proof asks for the same $J$ at each step. The lengths are not powers of $r$:
# at first, while the state is large, tanh flattens the effect more. After 24 steps it is 0.021 long, and not
# $0.93^{24} = 0.175$.

# %%
c = np.array([1.0, 0.0])
jacobians = []
for _ in range(T):
    c = np.tanh(J @ c)
    jacobians.append((1 - c**2)[:, None] * J)

e, a = np.zeros((T + 1, 2)), np.zeros((T + 1, 2))
e[0], a[T] = [1.0, 0.0], [1.0, 1.0]
for t in range(1, T + 1):
    e[t] = jacobians[t - 1] @ e[t - 1]
for t in range(T, 0, -1):
    a[t - 1] = jacobians[t - 1].T @ a[t]

assert np.allclose((a * e).sum(axis=1), a[0] @ e[0], rtol=1e-12)
assert np.isclose(np.linalg.norm(e[24]), 0.021, atol=0.0005)
assert np.isclose(r**24, 0.175, atol=0.0005)

# %% [markdown]
# ## Solution 2
#
# Going back, the blame of the second error joins at step 12. So the product has one value before it and another one
# after it: the part that the error of step 12 pays is gone.

# %%
e, a = np.zeros((T + 1, 2)), np.zeros((T + 1, 2))
e[0], a[T] = [1.0, 0.0], [1.0, 1.0]
for t in range(1, T + 1):
    e[t] = J @ e[t - 1]
for t in range(T, 0, -1):
    a[t - 1] = J.T @ a[t] + (np.array([1.0, 1.0]) if t - 1 == 12 else 0)

product = (a * e).sum(axis=1)
assert np.allclose(product[:13], product[0])
assert np.allclose(product[13:], forward_answer)
assert np.isclose(product[0] - product[T], e[12] @ [1.0, 1.0])
