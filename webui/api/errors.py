"""Every error leaves as application/problem+json."""

import logging

from flask import Flask, Response
from werkzeug.exceptions import BadRequest, HTTPException

from engine.errors import LookalikeError
from webui.problems import MEDIA_TYPE, headers_of, of_error, of_status
from webui.wire import Problem

log = logging.getLogger(__name__)


class MalformedBody(BadRequest):
    """A body that is not the JSON or the form that it says it is; the description is one sentence."""


def register_errors(app: Flask) -> None:
    """Makes `app` answer errors as problems."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(LookalikeError, _on_purpose)
    app.register_error_handler(Exception, _unforeseen)


def _of_http(error: HTTPException) -> Response:
    detail = error.description if isinstance(error, MalformedBody) else None
    response = _respond(of_status(error.code or 500, detail))
    if error.code == 405:
        # HTTP asks for the methods that would do
        response.headers.update({name: value for name, value in error.get_headers() if name == "Allow"})
    return response


def _on_purpose(error: LookalikeError) -> Response:
    problem = of_error(error)
    if problem.status >= 500:
        log.error("%s: %s", type(error).__name__, error)
    response = _respond(problem)
    response.headers.update(headers_of(error))
    return response


def _unforeseen(error: Exception) -> Response:
    log.error("A request failed", exc_info=error)
    return _respond(of_error(error))


def _respond(problem: Problem) -> Response:
    return Response(problem.model_dump_json(), status=problem.status, mimetype=MEDIA_TYPE)
