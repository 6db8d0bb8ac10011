"""What requests and answers have in common, and the values that several of them hold."""

import sys
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictStr,
    WithJsonSchema,
)

MAX_URL = 2048  # characters
MAX_TEXT = 1000  # characters of a title or of a facet's value
MAX_WORDS = 200  # values of a facet of keywords
MAX_NUMBER = sys.float_info.max


class Request(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, val_json_bytes="base64", ser_json_bytes="base64")


class Answer(BaseModel):
    """An answer: unknown fields are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _storable(text: str) -> str:
    # PostgreSQL keeps no zero character, and nobody means one
    if "\0" in text:
        raise ValueError("text cannot hold the character 0")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""Text that any database can keep."""

WireFacetValue = StrictStr | StrictFloat | StrictBool | list[StrictStr]
"""A facet's value in JSON: a time is ISO 8601 text in UTC, keywords are a list."""


def _facet_value(value: object) -> str | float | bool | list[str] | None:
    """One sentence for whatever it is not, where a union would tell about each of its members."""
    match value:
        case None | bool():
            return value
        case int() | float() if abs(value) <= MAX_NUMBER:
            return float(value)
        case str() if len(value) <= MAX_TEXT:
            return _storable(value)
        case list() if len(value) <= MAX_WORDS and all(isinstance(one, str) and len(one) <= MAX_TEXT for one in value):
            return [_storable(one) for one in value]
    raise ValueError(
        f"a facet's value is text of at most {MAX_TEXT} characters, a list of at most {MAX_WORDS} such, a finite "
        "number, true, false or null"
    )


_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "maxLength": MAX_TEXT}
GivenFacetValue = Annotated[
    str | float | bool | list[str] | None,
    PlainValidator(_facet_value),
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT_SCHEMA,
                {"type": "number"},
                {"type": "boolean"},
                {"type": "array", "items": _TEXT_SCHEMA, "maxItems": MAX_WORDS},
                {"type": "null"},
            ]
        }
    ),
]
"""A facet's value as it is sent: a time is ISO 8601 text of any zone; null takes the value away."""

Fraction = Annotated[float, Field(ge=0, le=1)]
WireBox = Annotated[
    tuple[Fraction, Fraction, Fraction, Fraction],
    Field(description="the part of the photo to look at: left, top, right, bottom as fractions"),
]
FormBox = Annotated[str, Field(description="left,top,right,bottom as fractions", examples=["0.1,0,0.9,1"])]
Url = Annotated[str, Field(max_length=MAX_URL, description="where a JPEG, PNG or WebP file is, where this is allowed")]
ProductId = Annotated[str, Field(description="the id of a product of the catalogue")]
FormFilter = Annotated[
    list[str], Field(description='JSON, or text such as "colour=Red" and "price<50"; several are and-ed')
]
