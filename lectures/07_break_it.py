# %% [markdown]
# # 7. Break it
#
# A wrong gradient rarely crashes. It learns, a little worse, and you look for the fault in the step size. So a gradient
# written by hand has to be checked, and a check has to be seen to fail.
#
# One idea: *which arrays are wrong, and from which step on, says where the bug is.*
#
# You get ten gradients, each with one bug, and what a checker says about them. You guess; then the checker gives its
# hint. Each number in the text stands in an `assert`.

# %%
import inspect
from textwrap import dedent, indent

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from planted_bugs import BUGS, changed, forward, gradient, planted

from rtu_np import check_learner, check_recurrence
from rtu_np.plot import COLOURS

# %% [markdown]
# ## The gradient before it is broken
#
# A layer of nonlinear recurrent trace units has the parameters `nu_log`, `theta_log`, `W1` and `W2`. Its state is $n$
# complex numbers, stored as pairs. Below is real-time recurrent learning (RTRL) for it, in plain NumPy; the numbers in
# parentheses are equations of [the derivations](../docs/derivations.md#sensitivities). `turn` multiplies by the
# eigenvalue, and `pair` makes pairs.
#
# Read it slowly: the bugs will be in here. The structure is `e = slope * (turn(e) + direct)`: what is carried, and what
# is direct. The slope is that of $\tanh$.

# %%
print(inspect.getsource(gradient))

# %% [markdown]
# ## The checker
#
# `check_recurrence` gets `forward`, one step without any derivative, and our `gradient`. It computes the gradient in
# three ways of its own, after 1, 2, 3, ... steps, and compares. Our case has two units, two inputs, eight steps, a
# state that starts at random numbers, and a reset: before the sixth step the state is set back to its start.

# %%
rng = np.random.default_rng(0)
r, theta = np.array([0.9, 0.6]), np.array([0.5, 1.7])
w = {"nu_log": np.log(-np.log(r)), "theta_log": np.log(theta)}
w |= {name: rng.standard_normal((2, 2)) for name in ("W1", "W2")}
xs, start, resets = rng.standard_normal((8, 2)), rng.uniform(-0.5, 0.5, (2, 2)), [5]


def check(gradient, forward=forward, w=w, steps=8):
    return check_recurrence(forward, w, start, xs[:steps], gradient, resets=[t for t in resets if t < steps])


report = check(gradient)
print(report)
assert report.passed

# %% [markdown]
# ## Ten bugs
#
# One row for each bug. A number in a square says after how many steps the gradient by this array is wrong for the first
# time. An empty square is right in all eight.

# %%
reports = {bug: check(planted(bug)) for bug in BUGS}
parts_at = np.array([[p.parts_at or 0 for p in report.parameters] for report in reports.values()])

figure, axes = plt.subplots(figsize=(5.5, 4.6), layout="constrained")
colours = ListedColormap(["white", COLOURS[1], COLOURS[4], COLOURS[3]])
axes.imshow(np.searchsorted([0, 1, 2, 6], parts_at), cmap=colours, aspect="auto")
for row, column in np.argwhere(parts_at):
    axes.text(column, row, f"T = {parts_at[row, column]}", ha="center", va="center")
axes.set_xticks(range(4), w)
axes.set_yticks(range(10), [f"bug {bug}" for bug in BUGS])
axes.set_xticks(np.arange(3) + 0.5, minor=True)
axes.set_yticks(np.arange(9) + 0.5, minor=True)
axes.grid(which="minor", color="0.8")
axes.tick_params(which="both", length=0)
axes.set_title("wrong from which step on")
plt.show()

# %% [markdown]
# How to read it:
#
# * **Wrong at T = 1**: nothing has been carried yet. So the direct effect is wrong, or the slope in front of all.
# * **Right at T = 1, wrong at T = 2**: the direct effect is right. What is carried is wrong.
# * **Wrong at T = 6**: what happens there? The reset.
# * **All arrays** are wrong if the line that all share is. **One or two** are wrong if their own line is.
#
# ## Your guess
#
# These are the ten causes, in another order. Write a letter for each bug into the next cell, and run it.
#
# * **A** The input scale $\gamma$ moves with $\nu$; its derivative is left out.
# * **B** At a reset the state is set back, and the sensitivities stay.
# * **C** Nothing is carried.
# * **D** The effect of `W2` is taken as that of `W1`, turned by a quarter: right for *linear* units, (14).
# * **E** $\tanh'$ is taken at the output of $\tanh$, and not at its input.
# * **F** `+=` is written for `=`.
# * **G** The factor $\theta$ is lost, which comes from `theta_log` being a logarithm.
# * **H** Sensitivities turn the wrong way.
# * **I** $\log \gamma$ is used for $\gamma$.
# * **J** The state after the step is used for that before it.

# %%
guess = {1: "?", 2: "?", 3: "?", 4: "?", 5: "?", 6: "?", 7: "?", 8: "?", 9: "?", 10: "?"}

print(sum(guess[bug] == cause for bug, (cause, _) in BUGS.items()), "of 10 right")

# %% [markdown]
# Stuck? Seven rows are different from all others, and each leads to one letter. The other three look the same.
#
# .
#
# .
#
# .
#
# ## What the checker says
#
# The checker knows some mistakes. For each it computes the gradient that the mistake would lead to, and if that is
# yours, it gives a hint. Where it knows none, it says what the rows above say.

# %%
for bug, report in reports.items():
    print(f"bug {bug}:")
    for hint in report.hints:
        print("   ", hint)

# %% [markdown]
# ## The answers

# %%
for bug, (cause, (old, new)) in BUGS.items():
    print(f"bug {bug} is {cause}")
    print(indent(dedent(old), "   - "))
    print(indent(dedent(new), "   + "))

# %% [markdown]
# * Five bugs have a hint that names them: 1, 3, 5, 10, and almost 2, where a factor "that depends on parameters alone"
#   is found.
# * Four more follow from their rows: only the cause A is about `nu_log` alone, only D about `W2` alone; J is what
#   `nu_log` and `theta_log` have in common, the state; E is the one wrong line that all share at the first step.
# * Bug 8 is left over: what is carried is wrong, and it is neither zero nor too much.
#
# And two of the ten are no homework. Bugs 1 and 2 stood in code that was published with papers; the page of derivations
# lists them under [deviations](../docs/derivations.md#deviations). The learners learned.

# %%
named = [bug for bug, report in reports.items() if not any("no known mistake" in hint for hint in report.hints)]
assert named == [1, 2, 3, 5, 10]
rows = [tuple(row) for row in parts_at]
assert [bug for bug, row in zip(BUGS, rows, strict=True) if rows.count(row) > 1] == [5, 8, 10]
assert parts_at.tolist() == [
    [0, 1, 0, 0],
    [0, 0, 1, 1],
    [6, 6, 6, 6],
    [1, 0, 0, 0],
    [2, 2, 2, 2],
    [1, 1, 0, 0],
    [0, 0, 0, 1],
    [2, 2, 2, 2],
    [1, 1, 1, 1],
    [2, 2, 2, 2],
]
assert not any(report.passed for report in reports.values())

# %% [markdown]
# ## A check is as good as its case
#
# Bug 3 passes if the check stops after five steps, before the reset. And if the state starts at zero, bug 1 shows at
# T = 2 only: at the first step there is nothing to turn. So a case has random numbers everywhere, more than a few
# steps, and everything that can happen: resets, too.

# %%
assert check(planted(3), steps=5).passed
from_zero = check_recurrence(forward, w, 0 * start, xs, planted(1))
assert [p.parts_at for p in from_zero.parameters] == [None, 2, None, None]

# %% [markdown]
# ## From a gradient to a learner
#
# A right gradient is not yet a right learner: the order of its lines may be wrong, as in
# [lecture 5](05_learning_on_every_step.ipynb). `check_learner` compares every step of a learner with a reference that
# starts from the learner's own state. Here is TD($\lambda$) with a linear prediction, its update and its trace in the
# right order, and swapped.


# %%
class LinearTD:
    def __init__(self, swapped):
        self.w, self.z, self.x = np.zeros((3, 3))
        self.lines = [self.trace, self.update] if swapped else [self.update, self.trace]

    def update(self, x, c):
        self.w = self.w + 0.1 * (c + 0.8 * self.w @ x - self.w @ self.x) * self.z

    def trace(self, x, c):
        self.z = 0.8 * 0.9 * self.z + x

    def step(self, x, c):
        for line in self.lines:
            line(x, c)
        self.x = x


def by_the_book(state, step):
    w, z, x = state["w"], state["z"], step["x"]
    delta = step["c"] + 0.8 * w @ x - w @ state["x"]
    return {"w": w + 0.1 * delta * z, "z": 0.8 * 0.9 * z + x, "x": x}


rows = [(rng.standard_normal(3), rng.standard_normal()) for _ in range(12)]
learners = {}
for swapped in (False, True):
    learner = LinearTD(swapped)
    learner.step(*rows[0])
    learners[swapped] = check_learner(learner, rows[1:], reference=by_the_book)
print(learners[True])

# %% [markdown]
# The trace is right, and `w` is wrong from the first step on: it moved along a trace that had taken in the present
# already. [A table](../docs/planted_bugs.md) has all bugs that the checkers of this package are tested with.

# %%
assert learners[False].passed
assert not learners[True].passed

# %% [markdown]
# ## Exercise 1
#
# Hide a bug: find parameters `w` for which bug 1 passes the check, all eight steps. Which of the other bugs pass, too?
#
# ## Exercise 2
#
# Cause D is no bug if the units are linear. Show it: `changed(function, (old, new), ...)` replaces parts of the source
# of `forward` or `gradient`. Make both linear, let the checker pass them, then plant bug 7 (`BUGS[7][1]`) as well. What
# is gained by writing it this way on purpose?

# %% [markdown]
# ## Solution 1
#
# A factor $\theta$ that is lost does no harm if $\theta = 1$, so `theta_log` = 0. No other bug passes. This is why a
# checker that draws its own parameters should not draw round numbers.

# %%
ones = w | {"theta_log": np.zeros(2)}
assert [bug for bug in BUGS if check(planted(bug), w=ones).passed] == [1]

# %% [markdown]
# ## Solution 2
#
# Without $\tanh$ each step multiplies complex numbers by complex numbers, and the effect of `W2` stays $\mathrm{i}$
# times that of `W1`: (14). So half of the sensitivities to weights need not be carried at all. `LinearRTU` uses this.
# With $\tanh$, the two parts of a number shrink by different slopes, and a quarter turn is lost.

# %%
linear = changed(forward, ("np.tanh", ""))
without = ("np.tanh", ""), ("(1 - c**2) * (turn", "(turn")
assert check(changed(gradient, *without), forward=linear).passed
assert check(changed(gradient, *without, BUGS[7][1]), forward=linear).passed
assert not check(planted(7)).passed
