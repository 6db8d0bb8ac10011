"""`lookalike serve`: the search API, and the page in front of it."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from lookalike.config import Configured
from lookalike.console import remark, say


@click.command(cls=Configured, table="serve")
@click.option("--index", "index_dir", type=click.Path(path_type=Path), required=True, help="Directory of the index.")
@click.option("--catalogue", metavar="FILE|URL", help="Follow this catalogue, and write to it what the API is sent.")
@click.option("--photos", type=click.Path(path_type=Path), help="Folder for photos written  [default: photos by FILE]")
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
    workers: int,
    threads: int,
    queue: int,
    state: str | None,
    rate: int,
    burst: int | None,
    gpu: bool,
) -> None:
    """Serve the search API and the page until Ctrl-C or SIGTERM.

    On addresses that other machines reach it takes an API key, which `lookalike keys create` makes.
    """
    from lookalike.serving import Served, opened_app, opened_service, opened_state
    from webui.serve import Addresses, require_page, serve, serve_with_workers
    from webui.state.opening import access_for_server
    from webui.state.rates import Rate

    def announce(addresses: Addresses) -> None:
        say(f"API   {addresses.api}")
        if addresses.page is not None:
            say(f"Page  {addresses.page}")
        remark("Ctrl-C stops.")

    if not no_page:
        require_page()
    limit = None if rate == 0 else Rate.a_minute(rate) if burst is None else Rate(rate, burst)
    # first: whether it may listen there is known at once, the index and its model take seconds
    access = access_for_server(index_dir, state, host=host, rate=limit, remark=remark)
    served = Served(index_dir, catalogue=catalogue, photos=photos, access=access, gpu=gpu)
    together: dict[str, Any] = {
        "host": host,
        "port": port,
        "page_port": None if no_page else page_port,
        "page_key": None if access is None else access.policy.page_key,
        "threads": threads,
        "queue": queue,
        "announce": announce,
    }
    if workers > 1:
        remark(f"{workers} workers open the index and the model …")
        serve_with_workers(partial(opened_app, served), workers=workers, **together)
        return
    with opened_state(served) as known, opened_service(served, known, tell=remark) as service:
        serve(service, state=known, **together)
