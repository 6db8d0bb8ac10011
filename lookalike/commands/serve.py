"""`lookalike serve`: the search API, and the page in front of it."""

from pathlib import Path

import click

from lookalike.console import remark, say


@click.command()
@click.option("--index", "index_dir", type=click.Path(path_type=Path), required=True, help="Directory of the index.")
@click.option("--catalogue", metavar="FILE|URL", help="Follow this catalogue, and write to it what the API is sent.")
@click.option("--photos", type=click.Path(path_type=Path), help="Folder for photos written  [default: photos by FILE]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="The API's port.")
@click.option("--page-port", type=click.IntRange(1, 65535), default=8001, show_default=True, help="The page's port.")
@click.option("--no-page", is_flag=True, help="Serve the API alone; needs no gradio.")
@click.option(
    "--threads", type=click.IntRange(1, 256), default=8, show_default=True, help="Requests answered at the same time."
)
@click.option(
    "--state",
    metavar="FILE|URL",
    help="Where API keys, rates and feedback are kept: SQLite or PostgreSQL  [default: a file beside the index]",
)
@click.option(
    "--rate",
    type=click.IntRange(0, 1_000_000),
    default=600,
    show_default=True,
    help="Requests that a key may send a minute; 0 for no limit.",
)
@click.option("--burst", type=click.IntRange(1), help="How many of them at once  [default: a sixth of --rate]")
@click.option("--gpu", is_flag=True, help="Compare all photos on a GPU where a search has no filter.")
def command(
    *,
    index_dir: Path,
    catalogue: str | None,
    photos: Path | None,
    host: str,
    port: int,
    page_port: int,
    no_page: bool,
    threads: int,
    state: str | None,
    rate: int,
    burst: int | None,
    gpu: bool,
) -> None:
    """Serve the search API and the page until Ctrl-C or SIGTERM.

    On addresses that other machines reach it takes an API key, which `lookalike keys create` makes.
    """
    from contextlib import ExitStack

    from PIL import Image

    from engine.catalogue.store import Catalogue
    from engine.search.query import Query
    from engine.search.search_engine import SearchEngine
    from engine.updates import Updates
    from webui.serve import Addresses, require_page, serve
    from webui.service import SearchService
    from webui.state.opening import open_for_server
    from webui.state.rates import Rate

    def announce(addresses: Addresses) -> None:
        say(f"API   {addresses.api}")
        if addresses.page is not None:
            say(f"Page  {addresses.page}")
        remark("Ctrl-C stops.")

    if not no_page:
        require_page()
    limit = None if rate == 0 else Rate.a_minute(rate) if burst is None else Rate(rate, burst)
    with ExitStack() as opened:
        # first: whether it may listen there is known at once, the index and its model take seconds
        known = open_for_server(index_dir, state, host=host, rate=limit, remark=remark)
        if known is not None:
            opened.enter_context(known)
        source = None if catalogue is None else opened.enter_context(Catalogue.open(catalogue))
        # what changed since the index was built comes while the index answers: there may be photos to encode
        engine = opened.enter_context(SearchEngine.open(index_dir, catalogue=source, catch_up=False, gpu=gpu))
        remark(f"{engine.products:,} products, {engine.photos:,} photos; opening the model …")
        # The first photo opens the encoder, which takes seconds: now, rather than before the first customer.
        engine.look(Query(photo=Image.new("RGB", (16, 16))))
        updates = None if source is None else Updates(source, engine.encoder, photos)
        service = SearchService(engine, updates=updates, feedback=known)
        opened.enter_context(service.metrics.watching(engine))
        serve(
            service,
            state=known,
            host=host,
            port=port,
            page_port=None if no_page else page_port,
            threads=threads,
            announce=announce,
        )
