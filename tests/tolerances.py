"""Every tolerance of the tests, relative to the largest entry of the expected array."""

import numpy as np

PLAIN = 1e-12  # kernel against plain NumPy, and one algorithm against another that must agree
COMPLEX_STEP = 1e-11
AUTOGRAD = 1e-9
TORCH = 1e-8
DIFFERENCES = 1e-6
LEARNING = 1e-10  # a kernel against an oracle after some hundred learning steps
FLOAT32 = 1e-4
QUADRATURE = 1e-7
SAMPLING = 0.03


def assert_close(actual, expected, tolerance: float, name: str = "array") -> None:
    """`actual` equals `expected`, which may not be all zero, within `tolerance` of its largest entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, expected {expected.shape}"
    scale = np.abs(expected).max()
    assert scale > 0, f"{name}: the expected array is all zero, and would show nothing"
    error = np.abs(actual - expected).max() / scale
    assert error <= tolerance, f"{name}: off by {error:.2e} of its largest entry, allowed {tolerance:.0e}"
