"""`lookalike serve`: the search API, and the page in front of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.console import remark, say

if TYPE_CHECKING:
    from engine.vision.model import Model
    from webui.service import SearchService
    from webui.workers import App


@click.command()
@click.option("--index", "index_dir", type=click.Path(path_type=Path), required=True, help="Directory of the index.")
@click.option("--catalogue", metavar="FILE|URL", help="Follow this catalogue: its changes are found within a second.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="The API's port.")
@click.option("--page-port", type=click.IntRange(1, 65535), default=8001, show_default=True, help="The page's port.")
@click.option("--no-page", is_flag=True, help="Serve the API alone; needs no gradio.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that answer on the API's port.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=8, show_default=True, help="Requests a worker answers at once."
)
@click.option(
    "--queue",
    type=click.IntRange(0, 10_000),
    default=32,
    show_default=True,
    help="Requests that may wait for a worker's threads; others get 503 and Retry-After at once.",
)
@click.option("--gpu", is_flag=True, help="Compare all photos on a GPU where a search has no filter.")
def command(
    *,
    index_dir: Path,
    catalogue: str | None,
    host: str,
    port: int,
    page_port: int,
    no_page: bool,
    workers: int,
    threads: int,
    queue: int,
    gpu: bool,
) -> None:
    """Serve the search API and the page until Ctrl-C or SIGTERM."""
    from webui.serve import Addresses, require_page, serve, serve_with_workers

    def announce(addresses: Addresses) -> None:
        say(f"API   {addresses.api}")
        if addresses.page is not None:
            say(f"Page  {addresses.page}")
        remark("Ctrl-C stops.")

    if not no_page:
        require_page()
    together: dict[str, Any] = {
        "host": host,
        "port": port,
        "page_port": None if no_page else page_port,
        "threads": threads,
        "queue": queue,
        "announce": announce,
    }
    if workers > 1:
        remark(f"{workers} workers open the index and the model …")
        serve_with_workers(partial(opened_app, index_dir, catalogue, gpu), workers=workers, **together)
        return
    with opened_service(index_dir, catalogue, gpu, tell=remark) as service:
        serve(service, **together)


@contextmanager
def opened_app(index_dir: Path, catalogue: str | None, gpu: bool) -> Iterator["App"]:
    """The API over an opened index: what every worker opens for itself."""
    from webui.api.app import create_app

    with opened_service(index_dir, catalogue, gpu) as service:
        yield create_app(service)


@contextmanager
def opened_service(
    index_dir: Path, catalogue: str | None, gpu: bool, tell: Callable[[str], None] = lambda _: None
) -> Iterator["SearchService"]:
    """What the API asks, ready for its first request; `tell` hears what takes a while."""
    from PIL import Image

    from engine.search.query import Query
    from engine.search.search_engine import SearchEngine
    from engine.vision.encoder import OpenVinoEncoder
    from webui.batching import BatchingEncoder
    from webui.service import SearchService

    def encoder(model: "Model") -> BatchingEncoder:
        return BatchingEncoder(OpenVinoEncoder(model))

    # what changed since the index was built comes while the index answers: there may be photos to encode
    with SearchEngine.open(index_dir, catalogue=catalogue, catch_up=False, encoder=encoder, gpu=gpu) as engine:
        tell(f"{engine.products:,} products, {engine.photos:,} photos; opening the model …")
        # The first photo opens the encoder, which takes seconds: now, rather than before the first customer.
        engine.look(Query(photo=Image.new("RGB", (16, 16))))
        yield SearchService(engine)
