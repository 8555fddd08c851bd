# %% [markdown]
# # 3. A unit is a damped clock
#
# A recurrent trace unit (RTU) has two numbers as its state, and two parameters that say how it remembers: $r$ and
# $\theta$. Seen as a point in the plane, the state turns by the angle $\theta$ in each step, and shrinks to $r$ of its
# length. So it is the hand of a clock that gets shorter and shorter.
#
# One idea: *after a pulse the hand shows how long ago it was; and a wrong speed shows most after one time constant.*

# %%
import matplotlib.pyplot as plt
import numpy as np

from rtu_np import rtrl

# %% [markdown]
# ## One pulse
#
# With complex numbers a turn and a shrink are one multiplication ((3) and (6) of
# [the derivations](../docs/derivations.md#from-rnn-to-rtu)):
#
# $$ c_t = \lambda c_{t-1} + \gamma W x_t , \quad \lambda = r e^{\mathrm{i} \theta} , \quad \gamma = \sqrt{1 - r^2} . $$
#
# Let the input be one pulse, $x_0 = 1$, with $W = 1$. Then nothing but powers of $\lambda$ is left:
# $c_t = \gamma \lambda^t$.


# %%
def respond(r, theta, steps=60):
    """The state after a pulse at step 0."""
    c, states = 0.0, []
    for t in range(steps):
        c = r * np.exp(1j * theta) * c + np.sqrt(1 - r**2) * (t == 0)
        states.append(c)
    return np.array(states)


units = {"r = 0.80, θ = 0.3": (0.80, 0.3), "r = 0.95, θ = 0.3": (0.95, 0.3), "r = 0.95, θ = 1.0": (0.95, 1.0)}
figure, axes = plt.subplots(2, 3, figsize=(8, 4.3), layout="constrained", sharey="row")
for column, (name, (r, theta)) in zip(axes.T, units.items(), strict=True):
    c = respond(r, theta)
    column[0].plot(c.real, c.imag, ".-", linewidth=0.7, markersize=4)
    column[0].set(xlim=(-0.7, 0.7), ylim=(-0.7, 0.7), aspect="equal", title=name)
    column[1].plot(c.real, label="$c_1$")
    column[1].plot(c.imag, label="$c_2$")
    column[1].plot(abs(c), "k:", linewidth=1, label="$|c|$")
    column[1].set_xlabel("steps since the pulse")
axes[0, 0].set_ylabel("$c_2$ against $c_1$")
axes[1, 0].legend()
plt.show()

# %% [markdown]
# **$r$ says how long.** $r^t = e^{-\nu t}$ with $\nu = -\log r$: the *time constant* is $1 / \nu$ steps, and the
# half-life $\log 2 / \nu$. For $r = 0.80$ these are 4.5 and 3.1 steps, for $r = 0.95$ they are 19.5 and 13.5.
#
# **$\theta$ says how fast.** A turn takes $2 \pi / \theta$ steps: 20.9 for $\theta = 0.3$, and 6.3 for $\theta = 1.0$.

# %%
time_constants = -1 / np.log([0.80, 0.95])
assert np.allclose(time_constants, [4.5, 19.5], atol=0.05)
assert np.allclose(np.log(2) * time_constants, [3.1, 13.5], atol=0.05)
assert np.allclose(2 * np.pi / np.array([0.3, 1.0]), [20.9, 6.3], atol=0.05)

# %% [markdown]
# ## What does the clock say?
#
# The angle of the hand, divided by $\theta$, is the time since the pulse. After a full turn it begins again, but the
# length goes on: it has the time, too. So a readout of $c_1$ and $c_2$ can say "seven steps ago", and a few units with
# different speeds can say it well.

# %%
c = respond(0.95, 0.3)
assert np.isclose(np.angle(c[7]) / 0.3, 7)
assert np.isclose(np.log(abs(c[7]) / abs(c[0])) / np.log(0.95), 7)

# %% [markdown]
# ## How the hand depends on its speed
#
# To learn, we need the sensitivities: how would the hand point now, if the clock had always been a bit faster, or
# lived a bit longer? Parameters are the logarithms $\nu^{\log}$ and $\theta^{\log}$ (5), so that a unit step means "so
# many times longer", for short memories and for long ones. Differentiate $c_t = \gamma \lambda^t$:
#
# $$ \frac{dc_t}{d\theta^{\log}} = \mathrm{i} \theta t c_t , \qquad
# \frac{dc_t}{d\nu^{\log}} = \left( -\nu t + \frac{\nu r^2}{\gamma^2} \right) c_t . $$
#
# Look at the factor $t$. A clock that is a little too fast is a little off after one turn, and more and more off
# later. The hand shrinks meanwhile. So the sensitivity first grows like $t$, and then falls like $r^t$.

# %%
r, theta = 0.95, 0.3
nu, gamma, t = -np.log(r), np.sqrt(1 - r**2), np.arange(120)
c = respond(r, theta, steps=120)
by_theta = 1j * theta * t * c
by_nu = (-nu * t + nu * r**2 / gamma**2) * c

figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
axes[0].plot(by_theta.real, label=r"$dc_1 / d\theta^{\log}$")
axes[0].plot(by_nu.real, label=r"$dc_1 / d\nu^{\log}$")
axes[0].plot(c.real, "k:", linewidth=1, label="$c_1$ itself")
axes[0].set(xlabel="steps since the pulse", title="Sensitivities outlive the state")
axes[0].legend()
axes[1].plot(abs(c) / abs(c).max(), "k:", label="$|c|$")
axes[1].plot(abs(by_theta) / abs(by_theta).max(), "C0", label=r"$|dc / d\theta^{\log}|$")
axes[1].axvline(1 / nu, color="0.6", linewidth=1, label=r"time constant $1 / \nu$")
axes[1].set(xlabel="steps since the pulse", title="each relative to its largest")
axes[1].legend()
plt.show()

# %% [markdown]
# The effect of the speed is largest one time constant after the pulse, here after 19 or 20 steps, when only 0.38 of
# the hand is left. It has fallen to half of its peak after 52 steps, when of the hand 0.07 is left. **What the
# parameters learn from is older than what the state shows.** If you cut the past off, this is what you lose:
# [lecture 4](04_what_t_bptt_forgets.ipynb).

# %%
assert np.argmax(abs(by_theta)) in (19, 20)
assert np.isclose(r**19, 0.38, atol=0.005)
assert np.argmax((abs(by_theta) < abs(by_theta).max() / 2) & (t > 20)) == 52 + 1
assert np.isclose(r**52, 0.07, atol=0.005)

# %% [markdown]
# ## RTRL draws the same curves
#
# No closed formula is needed. RTRL carries each sensitivity with the state, and lets it turn and shrink as the state
# does ((11) with (9) and (10)):
#
# $$ e_t = \lambda e_{t-1} + \partial \lambda c_{t-1} + \partial \gamma W x_t , $$
#
# with $\partial \lambda = \mathrm{i} \theta \lambda$ for $\theta^{\log}$, and $\partial \lambda = -\nu \lambda$,
# $\partial \gamma = \nu r^2 / \gamma$ for $\nu^{\log}$. The factor $\theta$ in the first one is easily forgotten.

# %%
turn = r * np.exp(1j * theta)
e_theta, e_nu, state = 0.0, 0.0, 0.0
for k in range(120):
    pulse = float(k == 0)
    e_theta = turn * e_theta + 1j * theta * turn * state
    e_nu = turn * e_nu - nu * turn * state + nu * r**2 / gamma * pulse
    state = turn * state + gamma * pulse
    assert np.allclose([e_theta, e_nu], [by_theta[k], by_nu[k]])

# %% [markdown]
# And `rtrl` of the package, for the real form of the unit, finds the number at the peak:


# %%
def unit(p, c, x):
    """The real form (4): p has nu_log and theta_log."""
    nu, theta = np.exp(p["nu_log"]), np.exp(p["theta_log"])
    g, p_ = np.exp(-nu) * np.cos(theta), np.exp(-nu) * np.sin(theta)
    c = np.stack([g * c[0] - p_ * c[1] + np.sqrt(1 - np.exp(-2 * nu)) * x, g * c[1] + p_ * c[0]])
    return c, c


parameters = {"nu_log": np.log(np.array(nu)), "theta_log": np.log(np.array(theta))}
pulse = np.eye(1, 20)[0]  # 1, 0, 0, ...: step 19 is the last
exact = rtrl(unit, parameters, np.zeros(2), pulse, np.array([1.0, 0.0]))
assert np.isclose(exact["theta_log"], by_theta[19].real)
assert np.isclose(exact["nu_log"], by_nu[19].real)

# %% [markdown]
# [The explorer](../docs/explorer/index.html) is this lecture to play with: drag $\lambda$ in the plane, and see both
# kinds of curves follow.

# %% [markdown]
# ## Exercise 1
#
# Push the clock with a wave, $x_t = \cos(\omega t)$, for a long time. How large does the state become, for $r = 0.95$,
# $\theta = 0.3$ and several $\omega$? Which $\omega$ does the unit hear best?
#
# ## Exercise 2
#
# Somebody hands you the curve $c_1$ of a clock with $\theta = 0.3$. You know its $r$ and look for $\theta$ by the
# squared difference of your curve and this one. Draw it against $\theta$, for $r = 0.9$ and for $r = 0.99$. How wide
# is the valley, in which a gradient can lead you to 0.3? What does it have to do with the factor $t$?

# %% [markdown]
# ## Solution 1
#
# It resonates with $\omega = \theta$: there each push comes when the hand points the right way. A wave is the sum of
# two turning hands of half its size, one for each direction, and only one of them goes with the clock: the state grows
# to about $\gamma / (2 (1 - r)) = 3.1$. So a layer of units with different $\theta$ is a row of tuning forks.


# %%
def size(omega, steps=600):
    c, states = 0.0, []
    for k in range(steps):
        c = turn * c + gamma * np.cos(omega * k)
        states.append(abs(c))
    return np.mean(states[-200:])


omegas = np.linspace(0.05, 0.8, 76)
sizes = np.array([size(omega) for omega in omegas])
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
axes.plot(omegas, sizes)
axes.axvline(theta, color="0.6", linewidth=1)
axes.set(xlabel=r"$\omega$ of the input", ylabel="mean $|c|$", title=r"A unit hears its own $\theta$")
plt.show()

assert np.isclose(omegas[np.argmax(sizes)], theta, atol=0.015)
assert np.isclose(gamma / (2 * (1 - r)), 3.1, atol=0.05)
assert np.isclose(sizes.max(), 3.1, atol=0.1)

# %% [markdown]
# ## Solution 2
#
# Between the points at which the difference is half of what it is far away, the valley is 0.37 wide for $r = 0.9$, and
# 0.040 for $r = 0.99$: as narrow as the time constant is long. A long memory multiplies a small error of the speed by
# a large $t$. So long memories have to be set more precisely, and from far away no slope shows the way.

# %%
thetas = np.linspace(0.01, 1.0, 991)
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
widths = {}
for r_known in (0.9, 0.99):
    curve = respond(r_known, 0.3, steps=600).real
    off = np.array([np.sum((respond(r_known, each, steps=600).real - curve) ** 2) for each in thetas])
    axes.plot(thetas, off, label=f"r = {r_known}")
    inside = thetas[off < off[-1] / 2]
    widths[r_known] = inside.max() - inside.min()
axes.set(xlabel=r"$\theta$", ylabel="squared difference", title="The longer the memory, the narrower the valley")
axes.legend()
plt.show()

assert np.allclose([widths[0.9], widths[0.99]], [0.37, 0.040], atol=0.005)
