"""Requests drawn from the API's own description, right ones and wrong ones, put to a live shop.

Half of them are drawn from the document as it is, half from one that is narrowed to the shop (its facets, its products,
photos that are some), since a filter on a facet of a random name never reaches the engine.
"""

from base64 import b64encode
from collections import Counter
from copy import deepcopy
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.indexer.shop import draw
from tests.webui.live_shop import LiveShop
from webui.api.app import create_app

KEPT = {"p0000", "p0001"}  # products that no narrowed request deletes
FACETS = ("colour", "price", "tags", "sale", "since", "nothing")
SOURCES: dict[str, Any] = {
    "product_id": {"type": "string", "enum": sorted(KEPT)},
    "url": {"type": "string", "enum": ["https://shop.example/3.png"]},
    "vector": {
        "type": "array",
        "items": {"type": "number", "minimum": 0.001, "maximum": 1},
        "minItems": 16,
        "maxItems": 16,
    },
}
_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


def fuzz(live: LiveShop, requests: int, *, first_seed: int = 0) -> Counter[tuple[str, int]]:
    """Puts about so many requests to the shop; how often each operation gave each status.

    Fails where an answer is not what the document says, or is 5xx other than 503.
    """
    app = create_app(live.service)
    document = app.test_client().get("/openapi.json").json
    assert document is not None
    answered: Counter[tuple[str, int]] = Counter()
    operations = [
        (wide, narrow)
        for wide, narrow in zip(_operations(app, document), _operations(app, narrowed(document)), strict=True)
    ]
    for number, (wide, narrow) in enumerate(operations):
        cases = st.one_of(
            wide.as_strategy(GenerationMode.POSITIVE),
            narrow.as_strategy(GenerationMode.POSITIVE, path_parameters=_known(narrow)),
            *(one.as_strategy(GenerationMode.NEGATIVE) for one in (wide, narrow) if _can_be_wrong(one)),
        )
        _put(cases, max(1, requests // len(operations)), first_seed + number, answered)
    return answered


def _put(cases: "st.SearchStrategy[Case]", examples: int, number: int, answered: Counter[tuple[str, int]]) -> None:
    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def put(case: Case) -> None:
        response = case.call()
        answered[case.operation.definition.raw["operationId"], response.status_code] += 1
        assert response.status_code < 500 or response.status_code == 503, (case.as_curl_command(), response.text)
        case.validate_response(response, checks=_CHECKS)

    put()


def _operations(app: Any, document: dict[str, Any]) -> list[Any]:
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    return [found.ok() for found in schema.get_all_operations()]


def _known(operation: Any) -> dict[str, Any] | None:
    """A product or photo that there is, for the operations that leave it there."""
    known = {
        name: value for name, value in (("product_id", "p0000"), ("photo_id", 1)) if f"{{{name}}}" in operation.path
    }
    return None if operation.method.upper() == "DELETE" else known or None


def _can_be_wrong(operation: Any) -> bool:
    return bool(operation.definition.raw.get("requestBody") or operation.definition.raw.get("parameters"))


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The document for this one shop: as facets only its own, as photos a few files."""
    narrow: dict[str, Any] = _narrowed(deepcopy(document))
    schemas = narrow["components"]["schemas"]
    for form in schemas["Filter"]["anyOf"]:
        ((name, content),) = form["properties"].items()
        if name == "exists":
            content["enum"] = list(FACETS)
        elif "additionalProperties" in content:
            form["properties"][name] = _of_these_facets(
                content["additionalProperties"], minProperties=1, maxProperties=1
            )
    for name in ("SearchRequest", "SearchForm", "PredictRequest", "PredictForm"):
        schemas[name] = _one_source(schemas[name])
    facets = schemas["ProductRequest"]["properties"]["facets"]
    schemas["ProductRequest"]["properties"]["facets"] = _of_these_facets(facets["additionalProperties"])
    return narrow


def _one_source(schema: dict[str, Any]) -> dict[str, Any]:
    """A request that says in exactly one way what to look at, which its schema cannot say; product, address and
    length of the vector are those that there are."""
    properties = schema["properties"]
    sources = {**SOURCES, "photo": properties["photo"]}
    plain = {name: value for name, value in properties.items() if name not in sources}
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {**plain, name: source},
                "required": [name],
                "additionalProperties": False,
            }
            for name, source in sources.items()
            if name in properties
        ]
    }


def _of_these_facets(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(FACETS, value), "additionalProperties": False, **more}


def _narrowed(part: Any) -> Any:
    if isinstance(part, dict):
        if part.get("contentEncoding") == "base64":
            return {"type": "string", "enum": [b64encode(draw(number, 3)).decode() for number in range(3)]}
        return {name: _narrowed(value) for name, value in part.items()}
    return [_narrowed(value) for value in part] if isinstance(part, list) else part
