"""The API as Python: typed answers in, errors raised as what they were on the server. Needs httpx and pydantic alone.

with Client("http://127.0.0.1:8000") as client:
    answer = client.search(photo=Path("shoe.jpg").read_bytes(), filter={"eq": {"colour": "Red"}})
"""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from engine.errors import LookalikeError, Unavailable
from engine.search.modes import Mode
from webui import wire

Answer = TypeVar("Answer", bound=wire.Answer)

GivenValue = str | float | bool | datetime | Sequence[str] | None
"""A facet's value to be written; None takes the facet away."""

LONGEST_WAIT_S = 30.0  # before a request is sent again, whatever the server says
_CONTENT = "application/octet-stream"


class Client:
    """A connection to one search API. Safe to share between threads; close it, or use it in a `with`.

    Every method raises the LookalikeError that the server answered (UnknownProduct, BadFilter, …) with its sentence,
    and Unavailable when nothing, or something else, answers at `url`. An error that the server says will pass has
    `retry_after_s`. `key` is an API key, for servers that want one. `timeout_s` is for each read and write.

    `retries` is how often a request is sent again, after the wait that the server asks for, when it answers 503 with
    `Retry-After`: it is saturated, or its database is away. Nothing was done then, so this is safe for writes too.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout_s: float = 30,
        retries: int = 0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._sleep = sleep
        # A proxy named by the environment cannot reach this machine's own addresses.
        self._http = httpx.Client(
            base_url=self.url,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=not _is_loopback(self.url),
        )

    # --- Searching -------------------------------------------------------------------------------------------------

    def search(
        self,
        *,
        photo: bytes | None = None,
        url: str | None = None,
        product_id: str | None = None,
        vector: Iterable[float] | None = None,
        k: int = 10,
        mode: Mode = "both",
        filter: Mapping[str, Any] | None = None,
        box: Sequence[float] | None = None,
        explain: bool = True,
    ) -> wire.SearchAnswer:
        """Products for a photo (a file's bytes: JPEG, PNG, WebP; or where one is), from a product of the catalogue, or
        for an embedding of the index's own model.

        `filter` is the API's JSON, for example ``{"eq": {"colour": "Red"}}``; `box` is left, top, right, bottom as
        fractions of the photo. Without `explain` the answer has no plan.
        """
        wishes = _given(url=url, product_id=product_id, k=k, mode=mode, explain=explain)
        if photo is None:
            numbers = None if vector is None else [float(number) for number in vector]
            wishes |= _given(vector=numbers, filter=filter, box=None if box is None else list(box))
            return self._ask(wire.SearchAnswer, "POST", "/v1/search", json=wishes)
        if vector is not None:  # for the server to refuse: a form has no vectors
            wishes["vector"] = "both"
        if filter is not None:
            wishes["filter"] = json.dumps(filter)
        return self._ask(wire.SearchAnswer, "POST", "/v1/search", **_form(wishes, photo, box))

    def search_batch(self, searches: Sequence[wire.SearchRequest]) -> list[wire.SearchAnswer | LookalikeError]:
        """Up to 32 searches in one request: each its answer, or the error that `search` would have raised."""
        body = wire.BatchRequest(searches=list(searches)).model_dump_json(exclude_defaults=True)
        headers = {"Content-Type": "application/json"}
        found = self._ask(wire.BatchAnswer, "POST", "/v1/search:batch", content=body, headers=headers)
        return [item.answer or _error_of(item.problem) for item in found.answers]

    def predict(
        self,
        photo: bytes | None = None,
        *,
        url: str | None = None,
        box: Sequence[float] | None = None,
        choices: int = 3,
    ) -> wire.PredictAnswer:
        """Category and attributes of the product in a photo; `choices` labels of each."""
        wishes = _given(url=url, choices=choices)
        if photo is None:
            wishes |= _given(box=None if box is None else list(box))
            return self._ask(wire.PredictAnswer, "POST", "/v1/predict", json=wishes)
        return self._ask(wire.PredictAnswer, "POST", "/v1/predict", **_form(wishes, photo, box))

    def feedback(
        self,
        kind: wire.FeedbackKind,
        request_id: str,
        *,
        product_id: str | None = None,
        position: int | None = None,
    ) -> None:
        """Tells what became of the answer `request_id`: its product in place `position` (from 1) was clicked or is
        wrong, or the product was not found."""
        told = _given(kind=kind, request_id=request_id, product_id=product_id, position=position)
        self._send("POST", "/v1/feedback", json=told)

    # --- The catalogue ---------------------------------------------------------------------------------------------

    def facets(self, filter: Mapping[str, Any] | None = None) -> wire.FacetsAnswer:
        """Every facet with its counts among the products that pass `filter`."""
        wishes = {} if filter is None else {"filter": json.dumps(filter)}
        return self._ask(wire.FacetsAnswer, "GET", "/v1/facets", params=wishes)

    def product(self, product_id: str) -> wire.ProductAnswer:
        """One product; UnknownProduct if there is none of this id."""
        return self._ask(wire.ProductAnswer, "GET", _product(product_id))

    def write_product(
        self,
        product_id: str,
        *,
        title: str | None = None,
        facets: Mapping[str, GivenValue] | None = None,
        photos: Sequence[bytes] = (),
    ) -> wire.ProductWritten:
        """Brings a product into the catalogue, or changes it: what is not given stays as it is, a facet that is None is
        taken away, photos are added. It is on the server's disk when this returns, and nearly always found."""
        told = _given(
            title=title, facets=None if facets is None else {name: _json(one) for name, one in facets.items()}
        )
        told["photos"] = [b64encode(photo).decode() for photo in photos]
        return self._ask(wire.ProductWritten, "PUT", _product(product_id), json=told)

    def delete_product(self, product_id: str) -> wire.Deleted:
        """Deletes a product with its photos; UnknownProduct if there is none."""
        return self._ask(wire.Deleted, "DELETE", _product(product_id))

    def delete_photo(self, product_id: str, photo_id: int) -> wire.Deleted:
        """Deletes one photo of a product; UnknownPhoto if it has none of this id."""
        return self._ask(wire.Deleted, "DELETE", f"{_product(product_id)}/photos/{photo_id}")

    def photo(self, photo_id: int, side: int = 320) -> bytes:
        """A photo of the index as JPEG, its longer side at most `side` pixels (32-1024)."""
        return self._send("GET", f"/v1/photos/{photo_id}", params={"side": side}).content

    # --- The server ------------------------------------------------------------------------------------------------

    def health(self) -> wire.Health:
        """What answers there: products, photos, generation, model."""
        return self._ask(wire.Health, "GET", "/healthz")

    def ready(self) -> wire.Ready:
        """Raises Unavailable until the server has read all that changed since its index was built."""
        return self._ask(wire.Ready, "GET", "/readyz")

    def metrics(self) -> str:
        """The server's metrics, in Prometheus's text format."""
        return self._send("GET", "/metrics").text

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Under way -------------------------------------------------------------------------------------------------

    def _ask(self, kind: type[Answer], method: str, path: str, **parts: Any) -> Answer:
        response = self._send(method, path, **parts)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise self._stranger("an answer of another shape") from error

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        for left in range(self._retries, -1, -1):
            response = self._send_once(method, path, **parts)
            if response.is_success:
                return response
            wait = _retry_after_s(response)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or wait is None or not left:
                break
            self._sleep(min(wait, LONGEST_WAIT_S))
        raise self._error_in(response)

    def _send_once(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The search API at {self.url} does not answer ({type(error).__name__}); "
                "start it with `lookalike serve`, then try again."
            ) from error

    def _error_in(self, response: httpx.Response) -> LookalikeError:
        try:
            problem = wire.Problem.model_validate_json(response.content)
        except ValidationError:
            return self._stranger(f"status {response.status_code}")
        return _error_of(problem, _retry_after_s(response))

    def _stranger(self, what: str) -> Unavailable:
        return Unavailable(f"{self.url} answered with {what}, which no search API does; check the address and version.")


def _given(**wishes: Any) -> dict[str, Any]:
    return {name: value for name, value in wishes.items() if value is not None}


def _form(wishes: dict[str, Any], photo: bytes, box: Sequence[float] | None) -> dict[str, Any]:
    """The parts of a multipart request: a photo goes as it is, a third smaller than in base64."""
    if box is not None:
        wishes = {**wishes, "box": ",".join(repr(float(edge)) for edge in box)}
    return {"data": wishes, "files": {"photo": ("photo", photo, _CONTENT)}}


def _json(value: GivenValue) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case None | str() | bool() | int() | float():
            return value
        case _:
            return list(value)


def _product(product_id: str) -> str:
    """A product's path: dots are encoded too, since clients and proxies resolve the segments . and .."""
    return f"/v1/products/{quote(product_id, safe='').replace('.', '%2E')}"


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after_s(response: httpx.Response) -> float | None:
    """What Retry-After says in seconds; a date, which this API never sends, says nothing here."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _error_of(problem: wire.Problem | None, retry_after_s: float | None = None) -> LookalikeError:
    assert problem is not None  # of an item of a batch, one of answer and problem is there
    error = _ERRORS.get(problem.code, LookalikeError)(problem.detail)
    if retry_after_s is not None:
        error.retry_after_s = retry_after_s
    return error


def _with_subclasses(kind: type[LookalikeError]) -> Iterator[type[LookalikeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _with_subclasses(child)


_ERRORS = {kind.code: kind for kind in _with_subclasses(LookalikeError)}
