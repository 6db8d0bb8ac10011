"""Answers as responses."""

from flask import Response

from webui.wire import Answer


def answer(what: Answer, status: int = 200) -> Response:
    """An answer as JSON."""
    return Response(what.model_dump_json(), status=status, mimetype="application/json")
