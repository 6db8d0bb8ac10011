"""How long requests take, told to the metrics."""

from time import perf_counter

from flask import Flask, Response, g, request

from webui.metrics import Metrics

NOWHERE = (
    "none"  # the address of requests that met none: a label of its own for each would be one for each typing error
)


def register_measuring(app: Flask, metrics: Metrics) -> None:
    """Makes `app` tell about every request; to be called before whatever may refuse one."""

    @app.before_request
    def began() -> None:
        g.began = perf_counter()

    @app.after_request
    def answered(response: Response) -> Response:
        address = NOWHERE if request.url_rule is None else request.url_rule.rule
        method = request.method if request.url_rule is not None else NOWHERE
        metrics.answered(method, address, response.status_code, perf_counter() - g.began)
        return response
