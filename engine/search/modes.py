"""What of an answer can be asked for, apart from `query.py` so that clients need no numpy to know it."""

from typing import Literal

Mode = Literal["exact", "similar", "both"]
MODES: tuple[Mode, ...] = ("exact", "similar", "both")
MAX_K = 1000
