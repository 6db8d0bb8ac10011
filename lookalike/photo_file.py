"""A photo named on the command line -> its bytes."""

from pathlib import Path

from engine.errors import MissingFile


def read_photo_file(photo: Path) -> bytes:
    """Raises MissingFile, also where something else than a file is there."""
    try:
        return photo.read_bytes()
    except FileNotFoundError:
        raise MissingFile(f"There is no photo {photo}; check the path.") from None
    except OSError as error:
        raise MissingFile(f"The photo {photo} cannot be read ({error.strerror}); check the path.") from None
