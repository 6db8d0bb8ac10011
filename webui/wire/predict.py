"""What the model sees in a photo: what a seller's form would be filled with."""

from typing import Annotated, Literal

from pydantic import Field

from webui.wire.base import Answer, FormBox, Request, Url, WireBox
from webui.wire.photo import PhotoFile, PhotoText

MAX_CHOICES = 100

Choices = Annotated[int, Field(ge=1, le=MAX_CHOICES, description="likeliest labels of each head")]


class PredictRequest(Request):
    """A photo as JSON: exactly one of `photo` and `url`."""

    photo: PhotoText = None
    url: Url | None = None
    box: WireBox | None = None
    choices: Choices = 3


class PredictForm(Request):
    """A photo as multipart/form-data: exactly one of `photo` and `url`."""

    photo: PhotoFile = None
    url: Url | None = None
    box: FormBox | None = None
    choices: Choices = 3


class LabelChoice(Answer):
    """A label and its probability in [0, 1]."""

    label: str
    probability: float


class Attribute(Answer):
    """What one head says: its likeliest labels, best first. `facet` is the attribute it predicts; a softmax head's
    labels exclude one another, each of a multilabel head's stands for itself."""

    head: str
    facet: str
    kind: Literal["softmax", "multilabel"]
    choices: list[LabelChoice]


class PredictAnswer(Answer):
    """What is seen in the photo. `facets` are the likeliest values of those facets that the catalogue has, in the shape
    in which `PUT /v1/products/{product_id}` takes them."""

    attributes: list[Attribute]
    facets: dict[str, str | list[str]]
    model_id: str
