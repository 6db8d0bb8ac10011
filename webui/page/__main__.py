"""`python -m webui.page --api http://127.0.0.1:8000 --port 8001`: the page as a process of its own.

It listens on this machine only, and asks the API with the key in its environment, if there is one: whoever lets others
at the page puts a server of their own before it, which knows who may come in.
"""

import os
import signal
import sys
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from types import FrameType

import click

from engine.errors import MissingPackage

HOST = "127.0.0.1"
KEY = "LOOKALIKE_API_KEY"  # not an argument: command lines are there for everybody to read

LAST_WORDS_S = 1  # for answers under way; the streams of open tabs would go on for ever


@click.command()
@click.option("--api", default="http://127.0.0.1:8000", show_default=True, help="address of the search API")
@click.option("--port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="port to listen on")
def main(api: str, port: int) -> None:
    """Serve the search page of the API at --api, on this machine."""
    if find_spec("gradio") is None:
        click.echo("The page needs gradio; install it with `pip install 'lookalike[page]'`.", err=True)
        sys.exit(MissingPackage.exit_code)
    key = os.environ.pop(KEY, None) or None
    signal.signal(signal.SIGTERM, _leave)  # uvicorn ends calmly and raises the signal again: the folder is to go
    with TemporaryDirectory(prefix="lookalike-page-") as cache:
        # Read when these packages are imported: the page asks nobody but the API, and tells nobody that it runs.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Nothing is put there (`doors`); were there something, it would go at the end.
        os.environ["GRADIO_TEMP_DIR"] = cache
        import uvicorn

        from webui.client import Client
        from webui.page.app import build_app

        with Client(api, key=key) as client:
            uvicorn.run(
                build_app(client),
                host=HOST,
                port=port,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=LAST_WORDS_S,
            )


def _leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
