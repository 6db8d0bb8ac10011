"""Products: what is known of one, and what a shop writes."""

from typing import Annotated, Literal

from pydantic import Field

from webui.wire.base import MAX_TEXT, Answer, GivenFacetValue, ProductId, Request, Text, WireFacetValue
from webui.wire.photo import PhotoFiles, PhotoTexts

MAX_PHOTOS = 20  # of one product, in one request
MAX_FACETS = 200  # of one product

Title = Annotated[Text, Field(max_length=MAX_TEXT)]
GivenFacets = Annotated[
    dict[Text, GivenFacetValue], Field(max_length=MAX_FACETS, examples=[{"colour": "Red", "price": 12.5, "sale": None}])
]


class ProductPath(Request):
    """The product meant; its id percent-encoded."""

    product_id: ProductId


class ProductPhotoPath(Request):
    """One photo of a product; the product's id percent-encoded."""

    product_id: ProductId
    photo_id: int


class PhotoLink(Answer):
    """A photo and its path on this server."""

    photo_id: int
    photo: str


class ProductAnswer(Answer):
    """A product with all its facets and photos."""

    product_id: str
    title: str | None
    facets: dict[str, WireFacetValue]
    photos: list[PhotoLink]


class ProductRequest(Request):
    """A product to be there afterwards, as JSON. What is not given stays as it is; `null` takes a facet away; photos
    are added, and one that the product has already is no second one."""

    title: Title | None = None
    facets: GivenFacets = Field(default={})
    photos: PhotoTexts = Field(default=[], max_length=MAX_PHOTOS)


class ProductForm(Request):
    """A product to be there afterwards, as multipart/form-data."""

    title: Title | None = None
    facets: Annotated[
        str | None, Field(description="the same JSON object", examples=['{"colour": "Red", "price": 12.5}'])
    ] = None
    photo: PhotoFiles = Field(default=[], max_length=MAX_PHOTOS)


class ProductWritten(Answer):
    """What was written, on the disk by now. `photo_ids` are those of the photos sent, in their order, `photos_new` so
    many of them the product did not have. `visible` says that this server finds it; others do once they have reached
    `change_number`."""

    product_id: str
    effect: Literal["new", "changed", "unchanged"]
    photo_ids: list[int]
    photos_new: int
    change_number: int
    visible: bool


class Deleted(Answer):
    """What was deleted, on the disk by now. `visible` says that this server no longer finds it; others no longer do
    once they have reached `change_number`."""

    product_id: str
    photo_id: int | None
    change_number: int
    visible: bool
