"""/openapi.json describes what the API really does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine.errors import BadFilter
from engine.search.filter_json import from_json, to_json
from tests.webui.shop import open_shop
from webui import wire
from webui.api.app import create_app
from webui.hints import HINTS
from webui.service import SearchService

OPERATIONS = {
    ("/v1/search", "post"): wire.SearchAnswer,
    ("/v1/search:batch", "post"): wire.BatchAnswer,
    ("/v1/predict", "post"): wire.PredictAnswer,
    ("/v1/products/{product_id}", "get"): wire.ProductAnswer,
    ("/v1/products/{product_id}", "put"): wire.ProductWritten,
    ("/v1/products/{product_id}", "delete"): wire.Deleted,
    ("/v1/products/{product_id}/photos/{photo_id}", "delete"): wire.Deleted,
    ("/v1/facets", "get"): wire.FacetsAnswer,
    ("/v1/photos/{photo_id}", "get"): None,
    ("/v1/feedback", "post"): None,
    ("/healthz", "get"): wire.Health,
    ("/readyz", "get"): wire.Ready,
    ("/metrics", "get"): None,
}
OPEN = {"/healthz", "/readyz"}  # to those without a key


@pytest.fixture(scope="module")
def document() -> Any:
    return create_app(SearchService(open_shop())).test_client().get("/openapi.json").json


def test_it_is_openapi_3_1_of_every_operation(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Lookalike"
    found = {(path, method) for path, item in document["paths"].items() for method in item}
    assert found == set(OPERATIONS)
    ids = [operation["operationId"] for operation in _operations(document)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_answers_and_errors_have_schemas(document: Any, operation: tuple[str, str]) -> None:
    path, method = operation
    responses = document["paths"][path][method]["responses"]
    model = OPERATIONS[operation]

    if model is not None:
        schema = responses["200"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{model.__name__}"}
    problems = {status: one for status, one in responses.items() if int(status) >= 400}
    assert {"500", "503"} <= set(problems)
    assert ({"401", "403", "429"} <= set(problems)) == (path not in OPEN)
    for status, problem in problems.items():
        assert problem["description"], status
        assert problem["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        assert ("Retry-After" in problem.get("headers", {})) == (status in ("429", "503"))


def test_a_key_is_sent_in_either_header_or_not_at_all(document: Any) -> None:
    kinds = document["components"]["securitySchemes"]
    assert (kinds["bearer"]["scheme"], kinds["header"]["name"]) == ("bearer", "X-API-Key")
    assert document["security"] == [{"bearer": []}, {"header": []}, {}]


def test_a_search_is_json_or_a_form(document: Any) -> None:
    body = document["paths"]["/v1/search"]["post"]["requestBody"]

    assert body["required"] is True
    assert set(body["content"]) == {"application/json", "multipart/form-data"}
    form = document["components"]["schemas"]["SearchForm"]
    assert form["properties"]["photo"]["contentMediaType"] == "application/octet-stream"
    assert form["additionalProperties"] is False
    assert document["components"]["schemas"]["SearchRequest"]["properties"]["k"]["maximum"] == 1000


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: Any) -> None:
    schemas = document["components"]["schemas"]
    used = {ref.removeprefix("#/components/schemas/") for ref in _references(document)}

    assert used == set(schemas)


def test_every_place_in_a_path_is_a_required_parameter(document: Any) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            places = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert places == set(re.findall(r"{(\w+)}", path)), path
            assert all(one["required"] for one in operation.get("parameters", []) if one["in"] == "path")


def test_nullable_is_said_as_openapi_3_1_says_it(document: Any) -> None:
    assert "nullable" not in str(document)
    title = document["components"]["schemas"]["Card"]["properties"]["title"]
    assert {"type": "null"} in title["anyOf"]


def _operations(document: Any) -> Iterator[Any]:
    for item in document["paths"].values():
        yield from item.values()


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


# --- docs/api.md -----------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_operation_is_in_the_documentation_with_a_curl_line(document: Any) -> None:
    text = DOCS.read_text()
    headings = set(re.findall(r"^## (\w+) (\S+)$", text.replace("&lt;", "{").replace("&gt;", "}"), re.MULTILINE))

    assert headings == {(method.upper(), path) for path, method in OPERATIONS}
    for path, _ in OPERATIONS:
        assert re.search(rf"^curl .*{re.escape(path.split('{')[0])}", text, re.MULTILINE), path


def test_every_field_is_in_the_documentation() -> None:
    text = DOCS.read_text()
    models = [model for model in vars(wire).values() if isinstance(model, type) and issubclass(model, BaseModel)]

    for model in models:
        for field in model.model_fields:
            assert re.search(rf"`{field}`|\"{field}\"|<{field}>|lt;{field}&", text), f"{model.__name__}.{field}"


def test_examples_are_answers() -> None:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)]
    search, filter, *others = blocks

    search["similar"]["products"] = search["exact"]["products"]  # cut short in the text
    assert wire.SearchAnswer.model_validate(search).model_dump(mode="json") == search
    assert to_json(from_json(filter)) == filter
    models: list[type[BaseModel]] = [
        wire.BatchAnswer,
        wire.PredictAnswer,
        wire.ProductAnswer,
        wire.ProductWritten,
        wire.Deleted,
        wire.FacetsAnswer,
        wire.Health,
        wire.Ready,
        wire.Problem,
    ]
    for model, example in zip(models, others, strict=True):
        assert model.model_validate(example).model_dump(mode="json") == example
    assert others[-1]["hint"] == HINTS["unknown_product"].remedy


def test_every_metric_and_every_code_of_a_problem_is_in_the_documentation() -> None:
    text = DOCS.read_text()
    service = SearchService(open_shop())
    told = service.exposition().decode()

    names = set(re.findall(r"^# TYPE (lookalike_\w+)", told, re.MULTILINE))
    # prometheus_client tells beside each counter and histogram when it was made
    assert {name for name in names if not name.endswith("_created")} == set(re.findall(r"`(lookalike_\w+)`", text))
    errors = text[text.index("## Errors") :]
    kept_by_others = {"missing_file", "unsupported_format", "wrong_model", "wrong_catalogue", "log_trimmed"}
    assert set(HINTS) - kept_by_others <= set(re.findall(r"`(\w+)`", errors))


def test_the_grammar_of_filters_is_that_which_is_read(document: Any) -> None:
    forms = [next(iter(form["properties"])) for form in document["components"]["schemas"]["Filter"]["anyOf"]]
    example = {
        "and": [{"eq": {"a": 1}}, {"in": {"a": ["x"]}}, {"range": {"a": {"lt": 1}}}, {"prefix": {"a": "x"}}],
        "or": [],
        "not": {"exists": "a"},
        "eq": {"a": True},
        "in": {"a": []},
        "range": {"a": {"gte": "2026-01-01", "lte": 3}},
        "prefix": {"a": ""},
        "exists": "a",
    }

    assert set(forms) == set(example)
    for form in forms:
        assert to_json(from_json({form: example[form]}))
    with pytest.raises(BadFilter) as refused:
        from_json({"like": {"a": "b"}})
    assert set(re.findall(r"\w+", str(refused.value).partition("one of")[2])) == set(forms)
