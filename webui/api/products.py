"""/v1/products/<product_id>: one product, read and written."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.types import ResponseDict

from webui import wire
from webui.api.answers import answer
from webui.api.description import body, problems
from webui.api.mount import Mount
from webui.api.uploads import read_product
from webui.service import SearchService

_PRODUCT = "/products/<product_id>"
_BODY = {"requestBody": body(wire.ProductRequest, wire.ProductForm)}
_WRITTEN: ResponseDict = {200: wire.ProductWritten, 201: wire.ProductWritten}


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("products", "catalogue")

    @api.get(_PRODUCT, operation_id="product", responses={200: wire.ProductAnswer, **problems(404, 422)})
    def product(path: wire.ProductPath) -> Response:
        """One product: its title, facets and photos."""
        return answer(service.product(path.product_id))

    @api.put(
        _PRODUCT,
        operation_id="write_product",
        openapi_extensions=_BODY,
        responses={**_WRITTEN, **problems(400, 403, 404, 413, 415, 422)},
    )
    def write_product(path: wire.ProductPath) -> Response:
        """Bring a product into the catalogue, or change it; found within a second."""
        written = service.write_product(path.product_id, read_product(request))
        return answer(written, 201 if written.effect == "new" else 200)

    @api.delete(_PRODUCT, operation_id="delete_product", responses={200: wire.Deleted, **problems(403, 404, 422)})
    def delete_product(path: wire.ProductPath) -> Response:
        """Delete a product with its photos."""
        return answer(service.delete_product(path.product_id))

    @api.delete(
        f"{_PRODUCT}/photos/<int:photo_id>",
        operation_id="delete_photo",
        responses={200: wire.Deleted, **problems(403, 404, 422)},
    )
    def delete_photo(path: wire.ProductPhotoPath) -> Response:
        """Delete one photo of a product, which stays."""
        return answer(service.delete_photo(path.product_id, path.photo_id))

    return api
