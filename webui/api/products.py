"""GET /products/<product_id>: one product."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from webui import wire
from webui.api.answers import answer
from webui.api.description import problems
from webui.service import SearchService


def routes(service: SearchService) -> APIBlueprint:
    """The resource, answered by `service`."""
    api = APIBlueprint("products", __name__, abp_tags=[Tag(name="catalogue")])

    @api.get(
        "/products/<product_id>", operation_id="product", responses={200: wire.ProductAnswer, **problems(404, 422)}
    )
    def product(path: wire.ProductPath) -> Response:
        """One product: its title, facets and photos."""
        return answer(service.product(path.product_id))

    return api
