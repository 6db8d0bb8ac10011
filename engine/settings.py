"""What an installation may set from outside: environment variables that begin with `LOOKALIKE_`."""

import os
from functools import cache

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.errors import BadSetting

# Pillow's own alarm for decompression bombs; above it, Pillow refuses before we could.
PILLOW_MAX_PIXELS = 89_478_485


class Settings(BaseSettings):
    """The settings and their defaults, for example `LOOKALIKE_THREADS=4`."""

    model_config = SettingsConfigDict(env_prefix="LOOKALIKE_", frozen=True)

    max_photo_bytes: int = Field(
        default=20 * 1024 * 1024, ge=1024, le=1024**3, description="Bytes a photo's file may have."
    )
    max_photo_pixels: int = Field(
        default=64_000_000,
        ge=1024,
        le=PILLOW_MAX_PIXELS,
        description="Pixels a photo may have, checked before it is decoded.",
    )
    decode_timeout_s: float = Field(
        default=2.5, gt=0, le=60, description="Seconds a server's decoder may take for a photo."
    )
    decode_memory_bytes: int = Field(
        default=1280 * 1024**2,  # the dearest picture of 64 million pixels, a WebP with transparency, takes 1,048 MiB
        ge=16 * 1024**2,
        le=64 * 1024**3,
        description="Bytes of memory that decoding a photo may take in a server.",
    )
    threads: int = Field(default=0, ge=0, le=1024, description="Threads to compute with; 0 means one for every core.")
    catalogue_timeout_s: float = Field(
        default=30.0, gt=0, le=3600, description="Seconds to wait for another writer of the catalogue."
    )


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        BadSetting: a variable is out of range or of the wrong type.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        first = invalid.errors()[0]
        name = f"LOOKALIKE_{'_'.join(map(str, first['loc'])).upper()}"
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise BadSetting(f"{name} is {first['input']!r}: {reason}; correct it or unset it.") from None


def cores() -> int:
    """How many cores this process may run on; fewer than the machine has where its affinity is restricted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(asked: int = 0) -> int:
    """Threads to compute with: `asked`, or where that is 0 the setting, or where that is 0 too one a core."""
    return asked or settings().threads or cores()
