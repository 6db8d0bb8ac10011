import numpy as np

from engine.storage.halves import widen


def test_widened_halves_are_the_same_numbers() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)]
    assert len(halves) == 2**16 - 2 * 2**10
    wide = widen(halves)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide.view(np.uint32), halves.astype(np.float32).view(np.uint32))
