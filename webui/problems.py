"""Which error is which HTTP status, and what of it the caller may read: the only place that knows both (RFC 9457).

Errors that the caller can mend carry their own sentence. Those that only the keeper of the server can mend carry a
fixed one, since their own names files and folders of the server; the server's log has it.
"""

from difflib import get_close_matches
from http import HTTPStatus
from math import ceil

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import (
    BadCall,
    BadImage,
    BadQuery,
    BadSetting,
    Busy,
    DamagedFile,
    Forbidden,
    IndexMissing,
    LogTrimmed,
    LookalikeError,
    MissingFile,
    NotOffered,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnknownPhoto,
    UnknownProduct,
    UnsupportedFormat,
    WrongCatalogue,
    WrongModel,
)
from webui.hints import HINTS, hint_of, link_to
from webui.wire import Problem

MEDIA_TYPE = "application/problem+json"
MAX_DETAIL = 1000  # characters of a sentence
MAX_FIELD = 100  # characters of a field's name in it

RETRY_AFTER_S = 1  # seconds until a saturated server is worth asking again

# An error has the status of the nearest of its classes.
_STATUS: dict[type[LookalikeError], HTTPStatus] = {
    BadCall: HTTPStatus.UNPROCESSABLE_ENTITY,
    BadImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotOffered: HTTPStatus.FORBIDDEN,
    UnknownProduct: HTTPStatus.NOT_FOUND,
    UnknownPhoto: HTTPStatus.NOT_FOUND,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    IndexMissing: HTTPStatus.SERVICE_UNAVAILABLE,
    DamagedFile: HTTPStatus.SERVICE_UNAVAILABLE,
    MissingFile: HTTPStatus.SERVICE_UNAVAILABLE,
    UnsupportedFormat: HTTPStatus.SERVICE_UNAVAILABLE,
    WrongModel: HTTPStatus.SERVICE_UNAVAILABLE,
    WrongCatalogue: HTTPStatus.SERVICE_UNAVAILABLE,
    LogTrimmed: HTTPStatus.SERVICE_UNAVAILABLE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    BadSetting: HTTPStatus.INTERNAL_SERVER_ERROR,  # a BadCall of whoever started the server, not of who asks it
    LookalikeError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# Seconds after which to try again what passes by itself, where the error does not know better.
_RETRY_AFTER_S: dict[type[LookalikeError], float] = {Busy: RETRY_AFTER_S, Unavailable: 2, TooManyRequests: 1}

# What HTTP itself finds wrong, and what stands in for sentences that are not for the caller: status -> code, sentence.
_PLAIN: dict[int, tuple[str, str]] = {
    400: ("malformed_request", "The request cannot be read; send well-formed JSON or multipart/form-data."),
    404: ("not_found", "There is nothing at this address; /openapi.json lists what there is."),
    405: ("method_not_allowed", "This address does not take this method; /openapi.json says which it takes."),
    408: ("request_timeout", "The request took too long to arrive; send it again, or a smaller picture."),
    413: ("too_large", "The request has too many bytes; send a smaller picture."),
    415: ("wrong_content_type", "The body is of a kind that is not read here; send JSON or multipart/form-data."),
    431: ("headers_too_large", "The request's headers have too many bytes; send fewer or shorter ones."),
    500: ("internal", "The server made a mistake, which its log describes; tell whoever runs it."),
    503: ("unavailable", "The server cannot do this now, and its log says why; try again later."),
}


def of_error(error: Exception) -> Problem:
    """The problem that an exception is to the caller; what nobody foresaw is a 500 that tells nothing of itself."""
    if not isinstance(error, LookalikeError):
        return of_status(500)
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    detail = _PLAIN[status][1] if status >= HTTPStatus.INTERNAL_SERVER_ERROR else str(error)
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, LookalikeError)]
    described = next((kind.code for kind in kinds if kind.code in HINTS), error.code)
    return _problem(status, detail, error.code, described)


def headers_of(error: Exception) -> dict[str, str]:
    """What HTTP asks for beside the problem: how to send a key (RFC 6750), and how many seconds to wait before the same
    request may do, where it may: the error's own `retry_after_s`, or what is usual for its kind.
    """
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="lookalike"'}
    usual = (_RETRY_AFTER_S[kind] for kind in type(error).__mro__ if kind in _RETRY_AFTER_S)
    wait = getattr(error, "retry_after_s", None) or next(usual, None)
    # whole seconds, as HTTP has it; rounded up, or a client would come back too early
    return {} if wait is None else {"Retry-After": str(max(1, ceil(wait)))}


def of_status(status: int, detail: str | None = None) -> Problem:
    """The problem that a bare HTTP status is, for what goes wrong before Lookalike is asked."""
    code, sentence = _PLAIN.get(status, ("http_error", f"The request was refused: {HTTPStatus(status).phrase}."))
    return _problem(status, detail or sentence, code)


def of_saturation() -> Problem:
    """The problem that a request is one too many at the moment; nothing was done about it."""
    sentence = f"More requests came than can be answered at once; try again in {RETRY_AFTER_S} s."
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, sentence, Busy.code)


def of_fields(error: ValidationError, model: type[BaseModel]) -> BadQuery:
    """What is wrong with the fields of a request; for a field that `model` lacks, the nearest name is offered."""
    wrong = error.errors(include_url=False)[:3]
    return BadQuery(" ".join(_of_field(one, list(model.model_fields)) for one in wrong))


def _of_field(error: ErrorDetails, names: list[str]) -> str:
    field = _short(".".join(str(part) for part in error["loc"]), MAX_FIELD)
    if error["type"] == "extra_forbidden":
        near = get_close_matches(field, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}."
        return f"There is no field {field!r}; {hint}"
    # a check of our own has a sentence of its own, before which pydantic says what kind of error it was
    reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    reason = reason[:1].lower() + reason[1:]
    return f"The field {field!r} is wrong: {reason}." if field else f"The request is wrong: {reason}."


def _problem(status: int, detail: str, code: str, described: str | None = None) -> Problem:
    described = described or code
    return Problem(
        type=link_to(described),
        title=HTTPStatus(status).phrase,
        status=int(status),
        detail=_short(detail, MAX_DETAIL),
        code=code,
        hint=hint_of(described).remedy,
    )


def _short(text: str, length: int) -> str:
    """What somebody sent may come back in a sentence, but not all megabytes of it."""
    return text if len(text) <= length else f"{text[:length]}…."


def status_phrase(status: int) -> str:
    """HTTP's own words for a status."""
    return HTTPStatus(status).phrase
