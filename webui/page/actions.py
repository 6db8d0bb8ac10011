"""What can be done on the page: the events that its scripts send, checked before anything believes them."""

from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.errors import BadCall, BadImage
from engine.settings import settings

Fraction = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Seen(_Action):
    """A place, from 1, in the answer with this id."""

    request_id: Text
    position: Annotated[int, Field(ge=1)]


class ShowPhoto(_Action):
    """A photo was uploaded, dropped, pasted or taken; `photo` is the file in base64."""

    do: Literal["photo"]
    photo: Base64Bytes


class SearchFrom(_Action):
    """ "Search from this" on a product of the catalogue, by the picture shown of it; `seen` says in which answer and in
    which place of it, where it was in one."""

    do: Literal["from"]
    product_id: Text
    photo_id: int
    seen: Seen | None = None


class SetBox(_Action):
    """The crop box moved: left, top, right, bottom as fractions of the photo, or None for all of it."""

    do: Literal["box"]
    box: tuple[Fraction, Fraction, Fraction, Fraction] | None


class Toggle(_Action):
    """A pill was pressed."""

    do: Literal["toggle"]
    facet: Text
    value: Text


class SetRange(_Action):
    """The ends of a number or time facet; an empty end is open."""

    do: Literal["range"]
    facet: Text
    low: Annotated[str, Field(max_length=40)] = ""
    high: Annotated[str, Field(max_length=40)] = ""


class ClearFilter(_Action):
    do: Literal["clear"]


class ShowMore(_Action):
    do: Literal["more"]


class TryAgain(_Action):
    """The same question once more, after an error."""

    do: Literal["again"]


class TellWrong(_Action):
    """ "Not it" on the product that is said to be the same."""

    do: Literal["wrong"]
    product_id: Text
    seen: Seen


class TellMissing(_Action):
    """ "What I look for is not here"."""

    do: Literal["not_found"]
    request_id: Text


Asking = ShowPhoto | SearchFrom | SetBox | Toggle | SetRange | ClearFilter | ShowMore | TryAgain
Telling = TellWrong | TellMissing
Action = Asking | Telling
_ACTIONS: TypeAdapter[Action] = TypeAdapter(Annotated[Action, Field(discriminator="do")])


def read_action(data: object) -> Action:
    """The action that the page's script sent.

    BadCall if it is none, as after an update of the page beneath an open tab; BadImage for a photo too large to keep.
    """
    try:
        action = _ACTIONS.validate_python(data)
    except ValidationError as error:
        raise BadCall("This page sent something that cannot be read; reload it and try again.") from error
    limit = settings().max_photo_bytes
    if isinstance(action, ShowPhoto) and len(action.photo) > limit:
        raise BadImage(
            f"The photo has {len(action.photo):,} bytes, more than the {limit:,} allowed; send a smaller one."
        )
    return action
