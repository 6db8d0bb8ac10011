"""What there is to filter by, with counts."""

from pydantic import Field, StrictBool, StrictFloat, StrictStr

from engine.catalogue.schema import FacetType
from webui.wire.base import Answer, FormFilter, Request


class FacetsQuery(Request):
    """Which products to count."""

    filter: FormFilter = Field(default=[])


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
