"""float16 to float32, several times as fast as numpy's `astype`, which on most processors goes one by one."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

SHIFT = np.float32(2.0**112)  # what `shifted` leaves out


def widen(halves: Halves) -> Floats:
    """Finite float16 -> the same numbers in float32."""
    floats = shifted(halves)
    floats *= SHIFT
    return floats


def shifted(halves: Halves) -> Floats:
    """Finite float16 -> float32 numbers that are smaller by the factor 2 ** 112, denormal ones included.

    Both formats are sign, exponent, mantissa: moved into place, only the difference of the exponents' offsets, 127 and
    15, is missing. A product with something that has it already saves a pass over the rows.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x7000_0001)  # the widened sign filled the bits above the exponent: keep one of them
    return bits.view(np.float32)
