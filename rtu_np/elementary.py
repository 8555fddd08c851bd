import math

from rtu_np.jit import kernel


@kernel
def exp(x):
    return type(x)(math.exp(x))


@kernel
def expm1(x):
    return type(x)(math.expm1(x))


@kernel
def tanh(x):
    return type(x)(math.tanh(x))


@kernel
def sin_cos(x):
    return type(x)(math.sin(x)), type(x)(math.cos(x))
