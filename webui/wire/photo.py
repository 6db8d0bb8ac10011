"""A photo in a request, and the thumbnails of the catalogue's photos."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from webui.wire.base import Request

MIN_SIDE, MAX_SIDE = 32, 1024  # pixels of a thumbnail's longer side

_BASE64: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
_FILE: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}

PhotoText = Annotated[
    bytes | None,
    Field(description="a JPEG, PNG or WebP file in base64"),
    WithJsonSchema({"anyOf": [_BASE64, {"type": "null"}]}),
]
PhotoFile = Annotated[bytes | None, Field(description="a JPEG, PNG or WebP file"), WithJsonSchema(_FILE)]
PhotoTexts = Annotated[
    list[bytes],
    Field(description="JPEG, PNG or WebP files in base64"),
    WithJsonSchema({"type": "array", "items": _BASE64}),
]
PhotoFiles = Annotated[
    list[bytes], Field(description="JPEG, PNG or WebP files"), WithJsonSchema({"type": "array", "items": _FILE})
]


class PhotoPath(Request):
    """The photo asked for."""

    photo_id: int


class PhotoQuery(Request):
    """How large the thumbnail may be; a photo is never enlarged."""

    side: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, description="longer side in pixels")] = 320
