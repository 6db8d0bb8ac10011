"""What goes over the network: every request and every answer of the API, typed.

The server checks requests with these models and describes itself with them in `/openapi.json`; `webui/client.py` reads
answers into them. Requests refuse fields they do not know, since a misspelt field would change an answer silently;
answers tolerate new ones, so that an older client reads a newer server.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictStr, WithJsonSchema

from engine.catalogue.schema import FacetType
from engine.search.query import MAX_K, Mode

MIN_SIDE, MAX_SIDE = 32, 1024  # pixels of a thumbnail's longer side

WireFacetValue = StrictStr | StrictFloat | StrictBool | list[StrictStr]
"""A facet's value in JSON: a time is ISO 8601 text in UTC, keywords are a list."""

Fraction = Annotated[float, Field(ge=0, le=1)]
K = Annotated[int, Field(ge=1, le=MAX_K, description="distinct products in each part of the answer")]


class Request(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, val_json_bytes="base64", ser_json_bytes="base64")


class Answer(BaseModel):
    """An answer: unknown fields are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


# --- POST /search ----------------------------------------------------------------------------------------------------


class SearchRequest(Request):
    """A search as JSON: exactly one of `photo` and `product_id`."""

    photo: Annotated[
        bytes | None,
        Field(description="a JPEG, PNG or WebP file in base64"),
        WithJsonSchema({"anyOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "null"}]}),
    ] = None
    product_id: Annotated[str | None, Field(description="search from this product of the catalogue")] = None
    k: K = 10
    mode: Mode = "both"
    filter: Annotated[dict[str, Any] | None, Field(examples=[{"eq": {"colour": "Red"}}])] = None
    box: Annotated[
        tuple[Fraction, Fraction, Fraction, Fraction] | None,
        Field(description="the part of the photo to search for: left, top, right, bottom as fractions"),
    ] = None


class SearchForm(Request):
    """A search as multipart/form-data: exactly one of `photo` and `product_id`."""

    photo: Annotated[
        bytes | None,
        Field(description="a JPEG, PNG or WebP file"),
        WithJsonSchema({"type": "string", "contentMediaType": "application/octet-stream"}),
    ] = None
    product_id: str | None = None
    k: K = 10
    mode: Mode = "both"
    filter: Annotated[
        list[str],
        Field(description='JSON, or text such as "colour=Red" and "price<50"; several are and-ed'),
    ] = []
    box: Annotated[str | None, Field(description="left,top,right,bottom as fractions", examples=["0.1,0,0.9,1"])] = None


class Card(Answer):
    """One product of an answer; `score` is the cosine of its best photo, `photo` that photo's path on this server."""

    product_id: str
    title: str | None
    facets: dict[str, WireFacetValue]
    score: float
    photo_id: int
    photo: str


class ExactPart(Answer):
    """The same product: candidates, best first. The judgements are null while the index has no calibration."""

    products: list[Card]
    probability: float | None
    verdict: Literal["match", "unsure", "absent"] | None


class SimilarPart(Answer):
    """Products like it, best first."""

    products: list[Card]


class Prediction(Answer):
    """What the model sees in the photo: `label`, by the head named `head`, with a probability in [0, 1]."""

    head: str
    label: str
    probability: float


class Plan(Answer):
    """How the query was answered. `survivors` counts the photos that pass the filter, null without one; `delta_rows`
    the photos newer than the generation; the answer knows the catalogue up to its change `change_number`. `partial` has
    a sentence for each shard that is damaged and missing from the answer."""

    sentence: str
    path: str
    generation: str
    model_id: str
    shards: int
    lists_visited: int
    lists_total: int
    rows_scanned: int
    rows_reranked: int
    survivors: int | None
    matching_products: int
    expected_recall: float | None
    milliseconds: dict[str, float]
    delta_rows: int = 0
    change_number: int = 0
    partial: list[str] = []


class SearchAnswer(Answer):
    """The answer. A part that was not asked for is null; `matching` of `products` products pass the filter."""

    mode: Mode
    k: int
    exact: ExactPart | None
    similar: SimilarPart | None
    predictions: list[Prediction]
    matching: int
    products: int
    plan: Plan
    generation: str
    model_id: str


# --- GET /products/<product_id> --------------------------------------------------------------------------------------


class ProductPath(Request):
    """The product asked for; its id percent-encoded."""

    product_id: str


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


# --- GET /facets -----------------------------------------------------------------------------------------------------


class FacetsQuery(Request):
    """Which products to count."""

    filter: Annotated[
        list[str],
        Field(description='JSON, or text such as "colour=Red" and "price<50"; several are and-ed'),
    ] = []


class FacetChoice(Answer):
    """A value of a facet and how many products have it."""

    value: StrictStr | StrictBool
    count: int


class FacetSummary(Answer):
    """One facet, counted over the products that pass the filter without this facet's own clause.

    `values`, the most frequent first, are for keyword, keywords and boolean; `minimum` and `maximum` for number and
    time. `distinct` counts all values, `missing` the products without one.
    """

    name: str
    type: FacetType
    values: list[FacetChoice]
    distinct: int
    minimum: StrictFloat | StrictStr | None
    maximum: StrictFloat | StrictStr | None
    missing: int


class FacetsAnswer(Answer):
    """All facets with their counts; `matching` of `products` products pass the filter."""

    matching: int
    products: int
    facets: list[FacetSummary]


# --- GET /photos/<photo_id> and GET /healthz -------------------------------------------------------------------------


class PhotoPath(Request):
    """The photo asked for."""

    photo_id: int


class PhotoQuery(Request):
    """How large the thumbnail may be; a photo is never enlarged."""

    side: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE, description="longer side in pixels")] = 320


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


# --- Errors ----------------------------------------------------------------------------------------------------------


class Problem(Answer):
    """Every error: RFC 9457, as application/problem+json. `code` is stable and meant for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
