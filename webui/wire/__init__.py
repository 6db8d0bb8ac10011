"""What goes over the network: every request and every answer of the API, typed.

The server checks requests with these models and describes itself with them in `/openapi.json`; `webui/client.py` reads
answers into them. Requests refuse fields they do not know, since a misspelt field would change an answer silently;
answers tolerate new ones, so that an older client reads a newer server. Importing this costs pydantic and no more.
"""

from webui.wire.base import MAX_URL, Answer, GivenFacetValue, Request, WireFacetValue
from webui.wire.batch import MAX_SEARCHES, BatchAnswer, BatchItem, BatchRequest
from webui.wire.facets import FacetChoice, FacetsAnswer, FacetsQuery, FacetSummary
from webui.wire.feedback import FeedbackKind, FeedbackRequest
from webui.wire.health import Health, Ready
from webui.wire.photo import MAX_SIDE, MIN_SIDE, PhotoPath, PhotoQuery
from webui.wire.predict import Attribute, LabelChoice, PredictAnswer, PredictForm, PredictRequest
from webui.wire.problem import Problem
from webui.wire.products import (
    MAX_PHOTOS,
    Deleted,
    PhotoLink,
    ProductAnswer,
    ProductForm,
    ProductPath,
    ProductPhotoPath,
    ProductRequest,
    ProductWritten,
)
from webui.wire.search import (
    Card,
    ExactPart,
    Plan,
    Prediction,
    SearchAnswer,
    SearchForm,
    SearchRequest,
    SimilarPart,
)

__all__ = [
    "MAX_PHOTOS",
    "MAX_SEARCHES",
    "MAX_SIDE",
    "MAX_URL",
    "MIN_SIDE",
    "Answer",
    "Attribute",
    "BatchAnswer",
    "BatchItem",
    "BatchRequest",
    "Card",
    "Deleted",
    "ExactPart",
    "FacetChoice",
    "FacetSummary",
    "FacetsAnswer",
    "FacetsQuery",
    "FeedbackKind",
    "FeedbackRequest",
    "GivenFacetValue",
    "Health",
    "LabelChoice",
    "PhotoLink",
    "PhotoPath",
    "PhotoQuery",
    "Plan",
    "PredictAnswer",
    "PredictForm",
    "PredictRequest",
    "Prediction",
    "Problem",
    "ProductAnswer",
    "ProductForm",
    "ProductPath",
    "ProductPhotoPath",
    "ProductRequest",
    "ProductWritten",
    "Ready",
    "Request",
    "SearchAnswer",
    "SearchForm",
    "SearchRequest",
    "SimilarPart",
    "WireFacetValue",
]
