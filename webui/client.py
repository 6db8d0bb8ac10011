"""The API as Python: typed answers in, errors raised as what they were on the server.

with Client("http://127.0.0.1:8000") as client:
    answer = client.search(photo=Path("shoe.jpg").read_bytes(), filter={"eq": {"colour": "Red"}})
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from engine.errors import LookalikeError, Unavailable
from engine.search.query import Mode
from webui import wire

Answer = TypeVar("Answer", bound=wire.Answer)


class Client:
    """A connection to one search API. Safe to share between threads; close it, or use it in a `with`.

    Every method raises the LookalikeError that the server answered (UnknownProduct, BadFilter, …) with its sentence,
    and Unavailable when nothing, or something else, answers at `url`. `key` is an API key; `timeout_s` is for each read
    and write.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout_s: float = 30,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        # A proxy named by the environment cannot reach this machine's own addresses.
        self._http = httpx.Client(
            base_url=self.url,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=not _is_loopback(self.url),
        )

    def search(
        self,
        *,
        photo: bytes | None = None,
        product_id: str | None = None,
        k: int = 10,
        mode: Mode = "both",
        filter: Mapping[str, Any] | None = None,
        box: Sequence[float] | None = None,
    ) -> wire.SearchAnswer:
        """Products for a photo (a file's bytes: JPEG, PNG, WebP) or from a product of the catalogue.

        `filter` is the API's JSON, for example ``{"eq": {"colour": "Red"}}``; `box` is left, top, right, bottom as
        fractions of the photo.
        """
        wishes: dict[str, Any] = {"k": k, "mode": mode}
        if photo is None:
            wishes |= {"product_id": product_id, "filter": filter, "box": None if box is None else list(box)}
            given = {name: value for name, value in wishes.items() if value is not None}
            return self._read(wire.SearchAnswer, self._send("POST", "/search", json=given))
        if product_id is not None:
            wishes["product_id"] = product_id
        if filter is not None:
            wishes["filter"] = json.dumps(filter)
        if box is not None:
            wishes["box"] = ",".join(repr(float(edge)) for edge in box)
        files = {"photo": ("photo", photo, "application/octet-stream")}
        return self._read(wire.SearchAnswer, self._send("POST", "/search", data=wishes, files=files))

    def facets(self, filter: Mapping[str, Any] | None = None) -> wire.FacetsAnswer:
        """Every facet with its counts among the products that pass `filter`."""
        wishes = {} if filter is None else {"filter": json.dumps(filter)}
        return self._read(wire.FacetsAnswer, self._send("GET", "/facets", params=wishes))

    def product(self, product_id: str) -> wire.ProductAnswer:
        """One product; UnknownProduct if there is none of this id."""
        return self._read(wire.ProductAnswer, self._send("GET", f"/products/{_segment(product_id)}"))

    def photo(self, photo_id: int, side: int = 320) -> bytes:
        """A photo of the index as JPEG, its longer side at most `side` pixels (32-1024)."""
        return self._send("GET", f"/photos/{photo_id}", params={"side": side}).content

    def health(self) -> wire.Health:
        """What answers there: products, photos, generation, model."""
        return self._read(wire.Health, self._send("GET", "/healthz"))

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The search API at {self.url} does not answer ({type(error).__name__}); "
                "start it with `lookalike serve`, then try again."
            ) from error
        if response.is_success:
            return response
        raise self._error_of(response)

    def _error_of(self, response: httpx.Response) -> LookalikeError:
        try:
            problem = wire.Problem.model_validate_json(response.content)
        except ValidationError:
            return self._stranger(f"status {response.status_code}")
        return _ERRORS.get(problem.code, LookalikeError)(problem.detail)

    def _read(self, kind: type[Answer], response: httpx.Response) -> Answer:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise self._stranger("an answer of another shape") from error

    def _stranger(self, what: str) -> Unavailable:
        return Unavailable(f"{self.url} answered with {what}, which no search API does; check the address and version.")


def _segment(text: str) -> str:
    """Any text as one segment of a path; dots too, since clients and proxies resolve the segments . and .."""
    return quote(text, safe="").replace(".", "%2E")


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_subclasses(kind: type[LookalikeError]) -> Iterator[type[LookalikeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _with_subclasses(child)


_ERRORS = {kind.code: kind for kind in _with_subclasses(LookalikeError)}
