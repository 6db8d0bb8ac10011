"""The catalogue's photos, passed on from the API: browsers see the page's address only, and keep what they have got."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from engine.errors import LookalikeError, UnknownPhoto
from webui.client import Client
from webui.wire import MAX_SIDE, MIN_SIDE

KEEP = "public, max-age=86400, immutable"  # a photo_id is never used again


def photo_routes(client: Client) -> APIRouter:
    """`/photos/<photo_id>?side=<pixels>` as JPEG; 404 for a photo that is gone, 502 when the API fails."""
    routes = APIRouter()

    @routes.get("/photos/{photo_id}")
    def photo(photo_id: int, side: Annotated[int, Query(ge=MIN_SIDE, le=MAX_SIDE)] = 320) -> Response:
        try:
            jpeg = client.photo(photo_id, side=side)
        except UnknownPhoto:
            return Response(status_code=404)
        except LookalikeError:
            return Response(status_code=502)
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": KEEP})

    return routes
