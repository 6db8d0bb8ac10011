"""What answers, and whether it does."""

from typing import Literal

from webui.wire.base import Answer


class Health(Answer):
    """What answers here. It knows the catalogue up to its change `change_number`; `stale` says that it cannot follow
    the catalogue at present and answers as before; `live_photos` are newer than the generation, and every search
    compares them one by one; `unreadable_photos` are newer too and not found, because their files cannot be read."""

    status: Literal["ok"]
    products: int
    photos: int
    generation: str
    model_id: str
    change_number: int = 0
    live_photos: int = 0
    unreadable_photos: int = 0
    stale: bool = False


class Ready(Answer):
    """Requests may come: the index is open, and everything that changed since it was built can be found. What was
    written longer ago than `visibility_lag_s` seconds is found here (null without a catalogue)."""

    status: Literal["ready"]
    generation: str
    change_number: int
    visibility_lag_s: float | None
