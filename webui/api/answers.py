"""Answers as responses."""

from flask import Response

from webui.wire import Answer


def answer(what: Answer) -> Response:
    """An answer as JSON."""
    return Response(what.model_dump_json(), mimetype="application/json")
