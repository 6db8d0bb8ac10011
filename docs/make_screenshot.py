"""Makes the pictures of the page in docs: `python docs/make_screenshot.py --api URL --photo p.jpg --out docs/page.png`.

Opens the page in front of a running API in the system's Chromium, uploads the photo, presses the pills named by
`--pick`, draws the crop box given by `--box`, and keeps what is seen as a PNG of few enough colours to be small.
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep

import click
import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ARGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
ARGS += ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
START_S = 300.0  # seconds until the page must answer
COLOURS = 256
MOST_BYTES = 300_000  # of the picture


@click.command()
@click.option("--api", default="http://127.0.0.1:8000", show_default=True, help="address of the search API")
@click.option("--photo", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="the PNG to write")
@click.option("--pick", multiple=True, metavar="VALUE", help="a facet's value to filter by; may be repeated")
@click.option("--box", metavar="L,T,R,B", help="crop box, in fractions of the photo")
@click.option("--width", default=1280, show_default=True, type=click.IntRange(320))
@click.option("--height", default=1120, show_default=True, type=click.IntRange(320))
def main(*, api: str, photo: Path, out: Path, pick: tuple[str, ...], box: str | None, width: int, height: int) -> None:
    """Picture the page as it answers a photo."""
    with served_page(api) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=ARGS)
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(1000 * START_S)
        page.goto(address)
        page.wait_for_selector("#answer .welcome")
        page.set_input_files("#photo .pick", photo)
        page.wait_for_selector("#answer .card")
        if box:
            draw_box(page, *map(float, box.split(",")))
        for value in pick:
            press(page, value)
        settle(page)
        picture = page.screenshot()
        chromium.close()
    out.write_bytes(smaller(picture))
    click.echo(f"{out}: {out.stat().st_size / 1000:.0f} kB")


@contextmanager
def served_page(api: str) -> Iterator[str]:
    """The page in front of `api`, as a process for the time of the `with`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "webui.page", "--api", api, "--port", str(port)])
    try:
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = monotonic() + START_S
    while monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(address, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            sleep(0.2)
    raise click.ClickException("The page does not answer; see the lines above for why.")


def find_chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise click.ClickException("There is no Chromium here; install one (apt install chromium).")


def press(page: Page, value: str) -> None:
    """Press the pill of a value, in the short row or behind "more facets"."""
    pressed = page.locator(f"#answer .pill[data-ask*={quoted(value)}]")
    if not pressed.count():
        raise click.ClickException(f"No facet has a value {value!r} to pick.")
    folded = not pressed.first.is_visible()
    if folded:
        page.click("#answer .facets > summary")
    pressed.first.click()
    page.wait_for_selector(f"#answer .pill[data-ask*={quoted(value)}][aria-pressed=true]")
    if folded:
        page.click("#answer .facets > summary")


def quoted(value: str) -> str:
    """The value as it stands in an action's JSON, as a string of a CSS selector."""
    return "'" + f'"value": "{value}"'.replace("'", "\\'") + "'"


def draw_box(page: Page, left: float, top: float, right: float, bottom: float) -> None:
    area = page.locator("#photo .view").bounding_box()
    if area is None:
        raise click.ClickException("The photo is not shown; is it one?")
    page.mouse.move(area["x"] + left * area["width"], area["y"] + top * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + right * area["width"], area["y"] + bottom * area["height"], steps=5)
    page.mouse.up()
    page.wait_for_selector("#photo .box:not(.whole)")


def settle(page: Page) -> None:
    """Wait until the last answer and its pictures are there, with nothing hovered or focused."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    page.wait_for_selector("#answer .html-container:not(.pending)")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_function("[...document.images].every(image => image.complete || image.loading === 'lazy')")
    page.wait_for_timeout(600)


def smaller(picture: bytes) -> bytes:
    """The PNG in at most 256 colours, fewer where it would be too large."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    colours = COLOURS
    while True:
        file = BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES or colours <= 32:
            return file.getvalue()
        colours //= 2


if __name__ == "__main__":
    main()
