"""A search and its answer."""

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, WithJsonSchema

from engine.search.modes import MAX_K, Mode
from webui.wire.base import Answer, FormBox, FormFilter, ProductId, Request, Url, WireBox, WireFacetValue
from webui.wire.photo import PhotoFile, PhotoText

MAX_DIM = 8192  # numbers of a vector, more than any model's

K = Annotated[int, Field(ge=1, le=MAX_K, description="distinct products in each part of the answer")]
Explain = Annotated[bool, Field(description="whether to tell the plan, which is how the answer was found")]
Vector = Annotated[
    list[FiniteFloat], Field(min_length=1, max_length=MAX_DIM, description="an embedding of the index's own model")
]
JsonFilter = Annotated[
    dict[str, Any],
    Field(description="what products must be", examples=[{"eq": {"colour": "Red"}}]),
    WithJsonSchema({"$ref": "#/components/schemas/Filter"}),
]


class SearchRequest(Request):
    """A search as JSON: exactly one of `photo`, `url`, `product_id` and `vector`."""

    photo: PhotoText = None
    url: Url | None = None
    product_id: ProductId | None = None
    vector: Vector | None = None
    k: K = 10
    mode: Mode = "both"
    filter: JsonFilter | None = None
    box: WireBox | None = None
    explain: Explain = True


class SearchForm(Request):
    """A search as multipart/form-data: exactly one of `photo`, `url` and `product_id`."""

    photo: PhotoFile = None
    url: Url | None = None
    product_id: ProductId | None = None
    k: K = 10
    mode: Mode = "both"
    filter: FormFilter = Field(default=[])
    box: FormBox | None = None
    explain: Explain = True


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
    partial: list[str] = Field(default=[])


class SearchAnswer(Answer):
    """The answer. A part that was not asked for is null; `matching` of `products` products pass the filter; feedback
    names its `request_id`."""

    mode: Mode
    k: int
    exact: ExactPart | None
    similar: SimilarPart | None
    predictions: list[Prediction]
    matching: int
    products: int
    plan: Plan | None
    generation: str
    model_id: str
    request_id: str = ""
