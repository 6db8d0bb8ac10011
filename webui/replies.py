"""What the engine says -> answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from engine.catalogue.schema import Facet, FacetType, FacetValue
from engine.search.plan import Plan
from engine.search.query import Hit, Query, SearchResult
from engine.vision.model import Head
from webui import wire
from webui.ports import ProductDetail

if TYPE_CHECKING:
    from engine.search.facet_counts import FacetSummary
    from engine.search.look import Floats, Look

LIKELY = 0.5  # from this probability on, a label of a multilabel head is one of the photo's


def search_answer(
    query: Query, result: SearchResult, *, products: int, explain: bool, request_id: str
) -> wire.SearchAnswer:
    """The answer to a search among `products`."""
    return wire.SearchAnswer(
        mode=query.mode,
        k=query.k,
        exact=_exact_part(result),
        similar=None if result.similar is None else wire.SimilarPart(products=_cards(result.similar)),
        predictions=[
            wire.Prediction(head=one.head, label=one.label, probability=one.probability) for one in result.predictions
        ],
        matching=result.matching,
        products=products,
        plan=_plan(result.plan) if explain else None,
        generation=result.plan.generation,
        model_id=result.plan.model_id,
        request_id=request_id,
    )


def product_answer(found: ProductDetail) -> wire.ProductAnswer:
    """A product with its photos."""
    return wire.ProductAnswer(
        product_id=found.product_id,
        title=found.title,
        facets=_facets(found.facets),
        photos=[wire.PhotoLink(photo_id=photo_id, photo=_photo_path(photo_id)) for photo_id in found.photo_ids],
    )


def facet_summary(facet: "FacetSummary") -> wire.FacetSummary:
    """A facet with its counts."""
    return wire.FacetSummary(
        name=facet.name,
        type=facet.type,
        values=[wire.FacetChoice.model_validate({"value": value, "count": count}) for value, count in facet.values],
        distinct=facet.distinct,
        minimum=_end(facet.minimum),
        maximum=_end(facet.maximum),
        missing=facet.missing,
    )


def predict_answer(
    look: "Look", heads: Sequence[Head], facets: Sequence[Facet], *, choices: int, model_id: str
) -> wire.PredictAnswer:
    """What the heads say about a photo, and what of it `facets` can hold."""
    types = {facet.name: facet.type for facet in facets}
    attributes: list[wire.Attribute] = []
    filled: dict[str, str | list[str]] = {}
    for head in heads:
        probabilities = look.probabilities[head.name]
        best = np.argsort(-probabilities, kind="stable")
        attributes.append(
            wire.Attribute(
                head=head.name,
                facet=head.label,
                kind=head.kind,
                choices=[
                    wire.LabelChoice(label=head.classes[place], probability=float(probabilities[place]))
                    for place in best[:choices]
                ],
            )
        )
        match types.get(head.label):
            case FacetType.KEYWORD:
                filled[head.label] = head.classes[best[0]]
            case FacetType.KEYWORDS:
                filled[head.label] = _likely(head, probabilities)
    return wire.PredictAnswer(attributes=attributes, facets=filled, model_id=model_id)


def _likely(head: Head, probabilities: "Floats") -> list[str]:
    if head.kind == "softmax":
        return [head.classes[int(probabilities.argmax())]]
    return [head.classes[place] for place in np.flatnonzero(probabilities >= LIKELY)]


def _plan(plan: Plan) -> wire.Plan:
    # what is damaged, and not where: names of the server's files are for its log
    damaged = tuple(f"{sentence.partition(':')[0]}." for sentence in plan.partial)
    return wire.Plan.model_validate(replace(plan, partial=damaged).to_dict())


def _exact_part(result: SearchResult) -> wire.ExactPart | None:
    part = result.exact
    if part is None:
        return None
    return wire.ExactPart(products=_cards(part.hits), probability=part.probability, verdict=part.verdict)


def _cards(hits: Sequence[Hit]) -> list[wire.Card]:
    return [
        wire.Card(
            product_id=hit.product_id,
            title=hit.title,
            facets=_facets(hit.facets),
            score=hit.score,
            photo_id=hit.photo_id,
            photo=_photo_path(hit.photo_id),
        )
        for hit in hits
    ]


def _facets(facets: Mapping[str, FacetValue]) -> dict[str, wire.WireFacetValue]:
    return {name: _wire_value(value) for name, value in facets.items()}


def _wire_value(value: FacetValue) -> wire.WireFacetValue:
    match value:
        case datetime():
            return value.isoformat()
        case tuple():
            return list(value)
        case _:
            return value


def _end(value: float | datetime | None) -> float | str | None:
    return value.isoformat() if isinstance(value, datetime) else value


def _photo_path(photo_id: int) -> str:
    return f"/v1/photos/{photo_id}"
