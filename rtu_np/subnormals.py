"""Subnormal numbers count as zero while compiled code runs, on x86-64.

A number is subnormal if it is nearer to zero than the smallest normal number, about 1e-38 in float32 and 2e-308 in
float64. Intel's processors take 100 to 200 cycles for an operation with one. Learners make them without end, in every
decay that nothing feeds: the gradient on its way back through a long window, sensitivities and traces of an input that
is zero for long, Adam's moments of a unit that is dead. A decay does not even reach zero: the smallest subnormal
number, times 0.9, rounds to itself.

A processor of this kind has a register for each thread, MXCSR, with two switches: a result that is subnormal becomes
zero (flush to zero, FTZ), and an operand that is subnormal counts as zero (denormals are zero, DAZ). We set both as
Python enters compiled code, and give back the caller's register as it leaves.

Where we set them matters. LLVM may move arithmetic past the instruction that writes the register, and a function may
return in many places. So we set them in the function through which Python enters. It unpacks the arguments, and calls
the kernel in one place, not inlined.
"""

import sys
from typing import Any

import llvmlite.binding
from llvmlite import ir

SUPPORTED = llvmlite.binding.get_process_triple().startswith("x86_64")
_SWITCHES = 0x8000 | 0x0040  # FTZ and DAZ, as bits of MXCSR


def flush_in(wrapper: Any) -> None:
    """Set both switches around the call of the kernel in an LLVM module with the function through which Python enters.

    The kernel is what this module calls without inlining it.
    """
    instructions = (each for function in wrapper.functions for block in function.blocks for each in block.instructions)
    for call in [each for each in instructions if "noinline" in getattr(each, "attributes", ())]:
        _flush_during(call)


def _flush_during(call: Any) -> None:
    number, builder = ir.IntType(32), ir.IRBuilder(call.parent)
    accesses = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    read, write = (call.module.declare_intrinsic(f"llvm.x86.sse.{name}mxcsr", (), accesses) for name in ("st", "ld"))
    builder.position_at_start(call.function.entry_basic_block)
    callers, ours = (builder.alloca(number) for _ in range(2))
    builder.position_before(call)
    builder.call(read, [builder.bitcast(callers, accesses.args[0])])
    builder.store(builder.or_(builder.load(callers), ir.Constant(number, _SWITCHES)), ours)
    builder.call(write, [builder.bitcast(ours, accesses.args[0])])
    builder.position_after(call)
    builder.call(write, [builder.bitcast(callers, accesses.args[0])])


CODE = sys._getframe().f_code  # of this file, as it runs
