"""The page: Gradio's layout, state and events around our own HTML, and the catalogue's photos beside it.

The page is a client of the API and nothing more. A visit keeps its question, the photo included, in memory; nothing
is written to disk, and Gradio forgets a visit an hour after its tab was closed. Of Gradio's server only what the page
itself needs can be reached (`doors`).
"""

from typing import Any

import gradio as gr
from fastapi import FastAPI, Response

from engine.settings import settings
from webui.client import Client
from webui.page.doors import Doors
from webui.page.markup import asset
from webui.page.photos import photo_routes
from webui.page.responder import Responder, Shown, Told
from webui.page.theme import theme
from webui.page.visit import Visit

MOST_VISITS = 300  # kept at once; the oldest goes first. A visit weighs what its photo weighs, some megabytes at most
STYLES = ("ground.css", "query.css", "answer.css", "phone.css")  # later ones win
AT_ONCE = 16  # actions answered side by side
BESIDE_THE_PHOTO = 256 * 1024  # bytes of an action that are not its photo


def build_app(client: Client) -> Doors:
    """The page as an ASGI application, asking the API through `client`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(photo_routes(client))
    icon = Response(asset("templates/icon.svg"), media_type="image/svg+xml")
    app.get("/favicon.ico")(lambda: icon)  # before Gradio's own
    blocks = _blocks(Responder(client))
    blocks.state_session_capacity = MOST_VISITS
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        css="\n".join(asset(f"styles/{file}") for file in STYLES),
        head=asset("templates/head.html"),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
    )
    return Doors(app, settings().max_photo_bytes * 4 // 3 + BESIDE_THE_PHOTO)  # the photo is base64


def _blocks(responder: Responder) -> gr.Blocks:
    with gr.Blocks(title="Lookalike", fill_width=True, analytics_enabled=False) as blocks:
        visit = gr.State()
        header = gr.HTML(elem_id="header", apply_default_css=False)
        with gr.Row(elem_id="stage"):
            with gr.Column(elem_id="query"):
                photo = _part(
                    "photo", "crop.js", "photo.js", value={"src": None}, html_template=asset("templates/photo.html")
                )
                examples = _part("examples", "answer.js")
                seen = _part("seen")
            with gr.Column(elem_id="found"):
                answer = _part("answer", "answer.js")
        told = _part("told")

        def start() -> tuple[Any, ...]:
            return Visit(), *_outputs(responder.start())

        def reply(visit: Visit | None, event: gr.EventData) -> tuple[Any, ...]:
            if visit is None:  # a tab that outlived the process which knew it
                return start()
            match responder.reply(visit, event._data):
                case Told(line):
                    return gr.skip(), *[gr.skip()] * (len(parts) - 1), line
                case None:
                    return gr.skip(), *[gr.skip()] * len(parts)
                case shown:
                    return gr.skip(), *_outputs(shown)

        parts = [header, examples, photo, seen, answer, told]
        blocks.load(start, None, [visit, *parts], show_progress="hidden", api_visibility="private")
        for part in (photo, examples, answer):
            part.ask(
                reply,
                visit,
                [visit, *parts],
                trigger_mode="multiple",  # what was done is never dropped; `Visit` keeps the order
                concurrency_limit=AT_ONCE,
                show_progress="minimal",
                api_visibility="private",
            )
    return blocks


def _outputs(shown: Shown) -> list[Any]:
    return [shown.header, shown.examples, {"src": shown.photo}, shown.seen, shown.answer, ""]


def _part(name: str, *scripts: str, **options: Any) -> gr.HTML:
    """A piece of our own HTML with the scripts that bring it to life."""
    script = "\n".join(asset(f"scripts/{file}") for file in scripts)
    return gr.HTML(elem_id=name, apply_default_css=False, js_on_load=script or None, **options)
