"""The stand-in for libdevice's ``rsqrt``; triton reads a kernel's source, so it stands in a file of its own."""

import triton
import triton.language as tl


@triton.jit
def rsqrt(x):
    return 1.0 / tl.sqrt(x)
