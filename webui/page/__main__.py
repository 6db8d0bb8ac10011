"""`python -m webui.page --api http://127.0.0.1:8000 --port 8001`: the page as a process of its own."""

import os
import sys
from importlib.util import find_spec

import click

from engine.errors import MissingPackage


@click.command()
@click.option("--api", default="http://127.0.0.1:8000", show_default=True, help="address of the search API")
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="port to listen on")
def main(api: str, host: str, port: int) -> None:
    """Serve the search page of the API at --api."""
    # Read when these packages are imported: the page asks nobody but the API, and tells nobody that it runs.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    if find_spec("gradio") is None:
        click.echo("The page needs gradio; install it with `pip install 'lookalike[page]'`.", err=True)
        sys.exit(MissingPackage.exit_code)
    import uvicorn

    from webui.client import Client
    from webui.page.app import build_app

    # from the environment: command lines are there for everybody to read
    with Client(api, key=os.environ.get("LOOKALIKE_API_KEY")) as client:
        uvicorn.run(build_app(client), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main()
