"""The cells with gates, as `oracles` has the others: their forward pass from the definitions, on complex numbers."""

import numpy as np
import oracles


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * a))


def gru(p: dict, state: np.ndarray, x: np.ndarray):
    """(state, features) after one step."""
    Wr, Wz, Wn = np.split(p["W_input"], 3, axis=1)
    Ur, Uz, Un = np.split(p["W_recurrent"], 3, axis=1)
    br, bz, bn = np.split(p["b_input"], 3)
    cr, cz, cn = np.split(p["b_recurrent"], 3)
    reset = sigmoid(x @ Wr + br + state @ Ur + cr)
    update = sigmoid(x @ Wz + bz + state @ Uz + cz)
    new = np.tanh(x @ Wn + bn + reset * (state @ Un + cn))
    h = (1 - update) * new + update * state
    return h, h


def min_gru(p: dict, state: np.ndarray, x: np.ndarray):
    u, a = sigmoid(x @ p["W_z"] + p["b_z"]), x @ p["W_h"] + p["b_h"]
    h = (1 - u) * state + u * np.where(np.real(a) >= 0, a + 0.5, sigmoid(a))
    return h, h


def elstm(p: dict, state: np.ndarray, x: np.ndarray):
    z, f = np.tanh(x @ p["W_z"] + state * p["w_z"] + p["b_z"]), sigmoid(x @ p["W_f"] + state * p["w_f"] + p["b_f"])
    c = f * state + (1 - f) * z
    return c, c


def gated_rtu(activation: str, p: dict, state: np.ndarray, x: np.ndarray):
    c1, c2 = np.split(state, 2)
    q = sigmoid(x @ p["W_g"] + p["b_g"])
    r, angle = np.exp(-np.exp(p["nu_log"]) * q), np.exp(p["theta_log"]) * q
    scale = np.sqrt(1 - r**2)
    z1 = r * np.cos(angle) * c1 - r * np.sin(angle) * c2 + scale * (x @ p["W1"])
    z2 = r * np.sin(angle) * c1 + r * np.cos(angle) * c2 + scale * (x @ p["W2"])
    c = oracles.ACTIVATIONS[activation](np.concatenate([z1, z2]))
    return c, c
