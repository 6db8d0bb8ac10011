"""POST /v1/predict: what the model sees in a photo."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from webui import wire
from webui.api.answers import answer
from webui.api.description import body, problems
from webui.api.mount import Mount
from webui.api.uploads import read_predict
from webui.service import SearchService

_BODY = {"requestBody": body(wire.PredictRequest, wire.PredictForm)}


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("predict", "search")

    @api.post(
        "/predict",
        operation_id="predict",
        openapi_extensions=_BODY,
        responses={200: wire.PredictAnswer, **problems(400, 403, 413, 415, 422)},
    )
    def predict() -> Response:
        """Category and attributes of the product in a photo: what a seller's form would be filled with."""
        return answer(service.predict(read_predict(request)))

    return api
