"""What an installation may set from outside: environment variables that begin with `LOOKALIKE_`, above the top level
of the configuration file, above defaults."""

import os
from difflib import get_close_matches
from functools import cache

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from engine.config_file import ConfigFile, Origin, find_config_file
from engine.errors import BadSetting

# Pillow's own alarm for decompression bombs; above it, Pillow refuses before we could.
PILLOW_MAX_PIXELS = 89_478_485


class Settings(BaseSettings):
    """The settings and their defaults, for example `LOOKALIKE_THREADS=4`."""

    model_config = SettingsConfigDict(env_prefix="LOOKALIKE_", env_ignore_empty=True, frozen=True)

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic passes it by name)
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic passes it by name)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (pydantic passes it by name)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment above the file; what is not in either has its default."""
        file = find_config_file()
        return env_settings, InitSettingsSource(settings_cls, dict(file.settings) if file else {})


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        BadSetting: a value is out of range or of the wrong type, or the file has one that there is not.
        MissingFile: LOOKALIKE_CONFIG names no file.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        raise _bad_setting(invalid.errors()[0], find_config_file()) from None


def origin_of(name: str) -> Origin:
    """Where the setting `name` has its value from."""
    return _origin(name, find_config_file())


def variable(name: str) -> str:
    """The environment's variable for the setting `name`."""
    return f"LOOKALIKE_{name.upper()}"


def _origin(name: str, file: ConfigFile | None) -> Origin:
    if os.environ.get(variable(name)):
        return Origin("environment", variable(name))
    return Origin("file", str(file.path)) if file and name in file.settings else Origin()


def _bad_setting(error: ErrorDetails, file: ConfigFile | None) -> BadSetting:
    name = "_".join(map(str, error["loc"]))
    if file and error["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        hint = f"did you mean {near[0]}?" if near else "`lookalike config` lists the settings."
        return BadSetting(f"{file.path}: there is no setting {name!r}; {hint}")
    reason = error["msg"][:1].lower() + error["msg"][1:]
    origin = _origin(name, file)
    if origin.source == "file":
        return BadSetting(f"{origin.where}: {name} is {error['input']!r}: {reason}; correct it.")
    return BadSetting(f"{variable(name)} is {error['input']!r}: {reason}; correct it or unset it.")


def cores() -> int:
    """How many cores this process may run on; fewer than the machine has where its affinity is restricted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(asked: int = 0) -> int:
    """Threads to compute with: `asked`, or where that is 0 the setting, or where that is 0 too one a core."""
    return asked or settings().threads or cores()
