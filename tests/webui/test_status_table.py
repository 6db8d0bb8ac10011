"""Every status that a request can bring about by what it is, at one place. What depends on keys, rates, decoders and
load is tested beside those."""

import json
import shutil
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.search.search_engine import SearchEngine
from tests.indexer.shop import Shop
from tests.webui.live_shop import FakeFeedback
from tests.webui.shop import RED_PHOTO, address_of, open_shop, problem
from webui.api.app import max_request_bytes
from webui.service import SearchService

JSON = {"Content-Type": "application/json"}
PHOTO = b64encode(RED_PHOTO).decode()
DEEP = 100_000


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    service = SearchService(open_shop(), updates=NoUpdates(), feedback=FakeFeedback())
    with address_of(service) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


class NoUpdates:
    """Writes nothing: no request of this file may get so far."""

    def upsert(self, *_: object) -> Any:
        raise AssertionError

    def delete(self, *_: object, **__: object) -> Any:
        raise AssertionError


BODIES = [  # method and address of everything that takes a body
    ("POST", "/v1/search"),
    ("POST", "/v1/search:batch"),
    ("POST", "/v1/predict"),
    ("PUT", "/v1/products/a"),
    ("POST", "/v1/feedback"),
    ("POST", "/search"),
    ("PUT", "/products/a"),
]
FORMS = [one for one in BODIES if "batch" not in one[1] and "feedback" not in one[1]]
bodies = pytest.mark.parametrize(("method", "address"), BODIES)
forms = pytest.mark.parametrize(("method", "address"), FORMS)


@bodies
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nonsense", b'{"k": 1,}', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"title": "\\ud800"}', b"[" * DEEP],
    ids=["empty", "open", "words", "comma", "no UTF-8", "byte order mark", "half a character", "deep"],
)
def test_broken_json_is_400(http: httpx.Client, method: str, address: str, body: bytes) -> None:
    problem(http.request(method, address, content=body, headers=JSON), 400, "malformed_request")


@bodies
def test_numbers_that_no_reader_takes_are_400(http: httpx.Client, method: str, address: str) -> None:
    body = b'{"k": ' + b"1" * 5000 + b"}"
    problem(http.request(method, address, content=body, headers=JSON), 400, "malformed_request")


@forms
@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=x"])
def test_broken_forms_are_400(http: httpx.Client, method: str, address: str, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    problem(http.request(method, address, content=b"--y\r\nno form", headers=headers), 400, "malformed_request")


@bodies
@pytest.mark.parametrize(
    "kind", ["text/plain", "image/jpeg", "application/x-www-form-urlencoded", "application/xml", None]
)
def test_other_types_are_415(http: httpx.Client, method: str, address: str, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    problem(http.request(method, address, content=b"k=1", headers=headers), 415, "wrong_content_type")


@pytest.mark.parametrize(("method", "address"), [one for one in BODIES if one not in FORMS])
def test_forms_are_415_where_only_json_is_read(http: httpx.Client, method: str, address: str) -> None:
    problem(http.request(method, address, files={"photo": RED_PHOTO}), 415, "wrong_content_type")


@bodies
def test_unknown_fields_are_422(http: httpx.Client, method: str, address: str) -> None:
    assert "no field 'colour'" in problem(http.request(method, address, json={"colour": "Red"}), 422, "bad_query")


@bodies
@pytest.mark.parametrize("body", [[], "text", 7, None, True])
def test_json_that_is_no_object_is_422(http: httpx.Client, method: str, address: str, body: Any) -> None:
    response = http.request(method, address, content=json.dumps(body), headers=JSON)
    assert "object" in problem(response, 422, "bad_query")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/v1/products/nobody", "unknown_product"),
        ("/v1/products/%00", "unknown_product"),
        ("/v1/products/%ED%A0%80", "unknown_product"),  # half a character
        ("/v1/photos/99", "unknown_photo"),
        ("/v1/photos/" + "9" * 300, "unknown_photo"),
        ("/v1/photos/" + "9" * 5000, "not_found"),
        ("/v1/photos/..%2F..%2Fetc%2Fpasswd", "not_found"),
        ("/v1/photos/1e3", "not_found"),
        ("/v1/products/", "not_found"),
        ("/v1/products/a/photos", "not_found"),
        ("/v1/nothing", "not_found"),
        ("/v2/search", "not_found"),
        ("/v1/healthz", "not_found"),
        ("/static/docs.html", "not_found"),
    ],
)
def test_what_there_is_not_is_404(http: httpx.Client, address: str, code: str) -> None:
    problem(http.get(address), 404, code)


def test_an_unknown_product_to_search_from_is_404(http: httpx.Client) -> None:
    for product_id in ("nobody", "x" * 100_000, "\x00"):
        problem(http.post("/v1/search", json={"product_id": product_id}), 404, "unknown_product")


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("GET", "/v1/search", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/search:batch", {"POST", "OPTIONS"}),
        ("POST", "/v1/products/a", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
        ("GET", "/v1/products/a/photos/1", {"DELETE", "OPTIONS"}),
        ("PUT", "/v1/photos/1", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/metrics", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_other_methods_are_405_and_say_which_would_do(
    http: httpx.Client, method: str, address: str, allowed: set[str]
) -> None:
    response = http.request(method, address)

    problem(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


# --- 413: more than is taken, however it comes -----------------------------------------------------------------------


@bodies
def test_a_body_that_is_too_large_is_413(http: httpx.Client, method: str, address: str) -> None:
    head = f"{method} {address} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    # the length alone is enough: nothing of the body is waited for
    response = raw(http, f"{head}Content-Length: {max_request_bytes() + 1}\r\n\r\n".encode())

    problem(response, 413, "too_large")


def test_chunks_that_are_too_many_are_413(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(max_request_bytes() // 1_000_000 + 2):
            yield bytes(1_000_000)

    with suppress(httpx.WriteError):  # the server may have answered, and ended the connection, before all is sent
        problem(http.post("/v1/search", content=chunks(), headers=JSON), 413, "too_large")


@pytest.mark.parametrize(
    ("length", "status", "code"),
    [
        ("99999999999999999999", 413, "too_large"),
        ("-5", 400, "malformed_request"),
        ("5, 6", 400, "malformed_request"),
        ("0x10", 400, "malformed_request"),
        ("", 400, "malformed_request"),
    ],
)
def test_a_length_that_lies_is_refused(http: httpx.Client, length: str, status: int, code: str) -> None:
    head = "POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"

    problem(raw(http, f"{head}Content-Length: {length}\r\n\r\n{{}}".encode()), status, code)


def test_a_length_shorter_than_the_body_cuts_it_off(http: httpx.Client) -> None:
    head = "POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n"

    problem(raw(http, f'{head}{{"product_id": "mug-1"}}'.encode()), 400, "malformed_request")


@forms
def test_a_form_of_too_many_parts_or_too_long_texts_is_413(http: httpx.Client, method: str, address: str) -> None:
    many = [("filter", (None, "a=b"))] * 1001
    problem(http.request(method, address, files=many), 413, "too_large")
    problem(http.request(method, address, files={"filter": (None, "x" * 600_000)}), 413, "too_large")


def test_headers_that_are_too_large_are_431(http: httpx.Client) -> None:
    response = raw(http, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 300_000 + b"\r\n\r\n")
    problem(response, 431, "headers_too_large")


def raw(http: httpx.Client, request: bytes) -> httpx.Response:
    """The first answer to these bytes."""
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        with suppress(ConnectionResetError):
            while b"\r\n\r\n" not in answer or not complete(answer):
                received = connection.recv(65536)
                if not received:
                    break
                answer += received
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(first.split()[1]), headers=headers, content=body)


def complete(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    return bool(lengths) and len(body) >= int(lengths[0].split()[1])


# --- 422: what can be read and cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ({"eq": {"color": "Red"}}, "'colour'"),
        ({"eq": {"price": "cheap"}}, "'price'"),
        ({"eq": {"price": 10**400}}, "'price'"),
        ({"eq": {"colour": None}}, "'colour'"),
        ({"range": {"price": {"gt": 1, "gte": 2}}}, "same end twice"),
        ({"range": {"since": {"gt": "soon"}}}, "'since'"),
        ({"like": {"colour": "R"}}, "no 'like'"),
        ({"eq": {"colour": "Red"}, "not": {}}, "needs an object with one"),
        ({"and": [{"exists": "colour"}] * 1001}, "more than 1000 clauses"),
        ({"eq": {"x" * 100_000: 1}}, "There is no facet"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_filters_that_cannot_be_are_422(http: httpx.Client, filter: Any, said: str) -> None:
    response = http.post("/v1/search", json={"product_id": "mug-1", "filter": filter})

    assert said in problem(response, 422, "bad_filter")
    assert len(response.content) < 3000


def test_filters_nested_too_deep_are_422_or_no_json_any_more(http: httpx.Client) -> None:
    def nested(depth: int) -> bytes:
        return b'{"product_id": "mug-1", "filter": ' + b'{"not": ' * depth + b'{"exists": "sale"}' + b"}" * (depth + 1)

    problem(http.post("/v1/search", content=nested(40), headers=JSON), 422, "bad_filter")
    problem(http.post("/v1/search", content=nested(1000), headers=JSON), 400, "malformed_request")
    texts = {"filter": '{"not":' * 5000}
    problem(http.post("/v1/search", files={"photo": RED_PHOTO}, data=texts), 422, "bad_filter")
    problem(http.get("/v1/facets", params={"filter": '{"not":' * 500}), 422, "bad_filter")


@pytest.mark.parametrize(
    "text", ['{"eq": {"colour": "\\ud800"}}', '{"eq": {"price": NaN}}', '{"eq": {"price": 1e999}}']
)
def test_texts_of_filters_know_no_halves_of_characters_and_no_infinity(http: httpx.Client, text: str) -> None:
    problem(http.get("/v1/facets", params={"filter": text}), 422, "bad_filter")
    problem(http.post("/v1/search", files={"photo": RED_PHOTO}, data={"filter": text}), 422, "bad_filter")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"photo": PHOTO, "product_id": "mug-1"}, "exactly one of photo, url, product_id and vector"),
        ({"vector": [0.5] * 16, "product_id": "mug-1"}, "exactly one of"),
        ({}, "exactly one of"),
        ({"vector": []}, "'vector'"),
        ({"vector": [0.5] * 9000}, "'vector'"),
        ({"vector": [1, "2"]}, "'vector.1'"),
        ({"vector": [10**400]}, "finite"),
        ({"vector": [0.5] * 3}, "shape"),
        ({"product_id": "mug-1", "k": 10**400}, "'k'"),
        ({"product_id": "mug-1", "k": 1.5}, "'k'"),
        ({"product_id": "mug-1", "explain": "yes"}, "'explain'"),
        ({"photo": PHOTO, "box": [0, 0, 1e400, 1]}, "'box"),
        ({"photo": PHOTO, "box": [0, 0, 10**400, 1]}, "'box"),
        ({"k" * 1_000_000: 1}, "There is no field"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_fields_that_cannot_be_are_422(http: httpx.Client, fields: Any, said: str) -> None:
    text = json.dumps(fields).replace("Infinity", "1e400")
    response = http.post("/v1/search", content=text, headers=JSON)

    assert said in problem(response, 422, "bad_query")
    assert len(response.content) < 3000


# --- 503: what only the keeper of the server can mend ----------------------------------------------------------------


def test_an_index_that_is_closed_is_503_everywhere(built_shop: Shop) -> None:
    engine = SearchEngine.open(built_shop.index)
    with address_of(engine) as address, httpx.Client(base_url=address, timeout=60) as http:
        assert http.get("/readyz").status_code == 200
        engine.close()
        asked: list[Callable[[], httpx.Response]] = [
            lambda: http.post("/v1/search", files={"photo": RED_PHOTO}),
            lambda: http.post("/v1/search", json={"product_id": "p0001"}),
            lambda: http.post("/v1/predict", files={"photo": RED_PHOTO}),
            lambda: http.get("/v1/products/p0001"),
            lambda: http.get("/v1/photos/1"),
            lambda: http.get("/v1/facets"),
            lambda: http.get("/healthz"),
            lambda: http.get("/readyz"),
        ]
        for ask in asked:
            response = ask()
            problem(response, 503, "unavailable")
            assert int(response.headers["retry-after"]) >= 1
        assert "lookalike_up 0.0" in http.get("/metrics").text


def test_an_index_whose_files_are_gone_answers_what_it_still_can(built_shop: Shop, tmp_path: Path) -> None:
    shutil.copytree(built_shop.index, tmp_path / "index")
    with SearchEngine.open(tmp_path / "index") as engine, address_of(engine) as address:
        shutil.rmtree(tmp_path / "index")
        # mapped files outlive their names; the model's own file was not opened yet
        assert httpx.post(f"{address}/v1/search", json={"product_id": "p0001"}, timeout=60).status_code == 200
        response = httpx.post(f"{address}/v1/search", files={"photo": RED_PHOTO}, timeout=60)
        assert response.status_code == 503
        assert str(tmp_path) not in response.text
