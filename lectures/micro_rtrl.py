"""RTRL on one screen: a recurrent trace unit, and its gradient in three ways. (Numbers: docs/derivations.md.)"""

import numpy as np

w = np.array([np.log(0.1), np.log(0.5), 1.0, 0.3])  # parameters: nu_log, theta_log, W1, W2
a = np.array([1.0, -0.5])  # readout: v = a . c after the last step
x = np.random.default_rng(0).standard_normal(100)  # one input a step


def step(w, c, x_t):
    """The next state c (3)-(6), J = dc_t/dc_{t-1} (4), and F, the direct effect of w on c_t (9), (10), (12), (13)."""
    nu, theta, W = np.exp(w[0]), np.exp(w[1]), w[2:]
    J = np.exp(-nu) * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    gamma = np.sqrt(-np.expm1(-2 * nu))
    by_nu_log = -nu * (J @ c) + nu * np.exp(-2 * nu) / gamma * W * x_t
    by_theta_log = theta * np.array([[0, -1], [1, 0]]) @ (J @ c)
    return J @ c + gamma * W * x_t, J, np.column_stack([by_nu_log, by_theta_log, gamma * x_t * np.eye(2)])


c, S, tape = np.zeros(2), np.zeros((2, 4)), []
for x_t in x:  # RTRL goes forward with the stream: S = dc/dw turns and shrinks as c does (11). No past is stored
    c, J, F = step(w, c, x_t)
    S = J @ S + F
    tape.append((J, F))  # for BPTT alone

b, bptt = a, np.zeros(4)
for J, F in reversed(tape):  # BPTT goes back over all stored steps: b = dv/dc_t (17)
    b, bptt = b @ J, bptt + b @ F

numeric = np.zeros(4)
for k in range(4):  # the complex step needs no derivative by hand: v(w + ih) = v(w) + ih dv/dw for a tiny h
    z = np.zeros(2)
    for x_t in x:
        z = step(w + 1e-30j * np.eye(4)[k], z, x_t)[0]
    numeric[k] = (a @ z).imag / 1e-30

print("       dv/dw:      nu_log   theta_log          W1          W2")
for name, row in {"RTRL": a @ S, "BPTT": bptt, "complex step": numeric}.items():
    print(f"{name:>12}:", *(f"{number:11.8f}" for number in row))
print(f"largest difference: {max(abs(a @ S - bptt).max(), abs(a @ S - numeric).max()):.0e}")
