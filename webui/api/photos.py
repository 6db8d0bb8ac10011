"""GET /v1/photos/<photo_id>: a photo of the index as a small JPEG."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from webui import wire
from webui.api.description import problems
from webui.api.mount import Mount
from webui.service import SearchService

# Kept by browsers, but asked about each time: another catalogue on the same port uses the same numbers again. Asking
# costs the reading of a file, no decoding.
CACHE = "public, no-cache"
_JPEG = {"description": "OK", "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("photos", "catalogue")

    @api.get("/photos/<int:photo_id>", operation_id="photo", responses={200: _JPEG, **problems(404, 422)})
    def photo(path: wire.PhotoPath, query: wire.PhotoQuery) -> Response:
        """A photo of the index, its longer side at most `side` pixels."""
        source = service.photo(path.photo_id)
        tag = f"{source.tag}-{query.side}"
        if request.if_none_match.contains(tag):
            response = Response(status=304)
        else:
            response = Response(service.thumbnail(source, query.side), mimetype="image/jpeg")
        response.set_etag(tag)
        response.headers["Cache-Control"] = CACHE
        return response

    return api
