"""Requests -> what the engine is asked: the one reading of filters, boxes and facets' values from outside."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic_core import from_json as read_json

from engine.catalogue.schema import Facet, FacetType, FacetValue
from engine.errors import BadFilter, BadQuery
from engine.search.filter_json import from_json
from engine.search.filter_syntax import parse
from engine.search.filters import And, Filter, leaves, read_time
from engine.search.query import Box, Query
from engine.updates import Upsert
from webui import wire

MAX_CLAUSES = 1000  # of a filter: each is a pass over the products


def check_one_source(request: wire.SearchRequest | wire.SearchForm | wire.PredictRequest | wire.PredictForm) -> None:
    """Raises BadQuery unless the request says in exactly one way what to look at."""
    names = [name for name in ("photo", "url", "product_id", "vector") if name in type(request).model_fields]
    given = sum(getattr(request, name) is not None for name in names)
    if given != 1:
        raise BadQuery(
            f"The request needs exactly one of {', '.join(names[:-1])} and {names[-1]}, and has {given}; send one."
        )


def query_of(request: wire.SearchRequest | wire.SearchForm, photo: bytes | None = None) -> Query:
    """The query that a request means; `photo` is what its `url` led to. Raises BadQuery and BadFilter."""
    vector = None
    if isinstance(request, wire.SearchForm):
        filter = filter_of(request.filter)
    else:
        filter = None if request.filter is None else _bounded(from_json(request.filter))
        # a number beyond float32 is infinite in it, which the engine refuses
        with np.errstate(over="ignore"):
            vector = None if request.vector is None else np.asarray(request.vector, np.float32)
    return Query(
        photo=request.photo if photo is None else photo,
        vector=vector,
        product_id=request.product_id,
        k=request.k,
        mode=request.mode,
        filter=filter,
        box=box_of(request.box),
    )


def filter_of(texts: Sequence[str]) -> Filter | None:
    """The and of filters written as JSON objects or as people type them; None without any. Raises BadFilter."""
    parts = [_filter_of_json(text) if text.lstrip().startswith("{") else parse([text]) for text in texts]
    present = tuple(part for part in parts if part is not None)
    if not present:
        return None
    return _bounded(present[0] if len(present) == 1 else And(present))


def _filter_of_json(text: str) -> Filter:
    try:
        # unlike Python's own reader it knows neither NaN nor halves of characters
        data: Any = read_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadFilter(f"The filter is no JSON ({error}); check its brackets and quotes.") from None
    return from_json(data)


def _bounded(filter: Filter) -> Filter:
    if sum(1 for _ in leaves(filter)) > MAX_CLAUSES:
        raise BadFilter(f"The filter has more than {MAX_CLAUSES} clauses; say it with fewer, or ask more than once.")
    return filter


def box_of(given: str | Sequence[float] | None) -> Box | None:
    """A box from its four fractions, or their text. Raises BadQuery."""
    if given is None:
        return None
    try:
        left, top, right, bottom = map(float, given.split(",") if isinstance(given, str) else given)
    except ValueError:
        raise BadQuery(f"The box {given!r} cannot be read; give left,top,right,bottom as fractions.") from None
    return Box(left, top, right, bottom)


def upsert_of(product_id: str, request: wire.ProductRequest, facets: Sequence[Facet]) -> Upsert:
    """What a product is to be; `facets` give the values sent their types. Raises BadQuery."""
    types = {facet.name: facet.type for facet in facets}
    values = {
        name: _facet_value(name, types.get(name), value) for name, value in request.facets.items() if value is not None
    }
    unset = tuple(name for name, value in request.facets.items() if value is None)
    return Upsert(product_id, request.title, values, request.photos, unset)


def product_of_form(form: wire.ProductForm, facets: Mapping[str, Any]) -> wire.ProductRequest:
    """A form as the request that it means; `facets` is its JSON, read."""
    given: dict[str, Any] = {"title": form.title, "facets": dict(facets), "photos": form.photo}
    return wire.ProductRequest.model_validate(given, strict=True)


def _facet_value(name: str, type: FacetType | None, value: str | float | bool | list[str]) -> FacetValue:
    if isinstance(value, list):
        return tuple(value)
    if type is FacetType.TIME and isinstance(value, str):
        time = read_time(value)
        if time is None:
            raise BadQuery(f"{value!r} is no time for the facet {name!r}; write it as 2026-05-01T12:00:00Z.")
        return time
    return value
