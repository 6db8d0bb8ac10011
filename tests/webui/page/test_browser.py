"""The page in a real Chromium, in front of the real API with a small shop behind it: three processes, loopback only."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.webui.page.small_shop import COLOURS, NASTY_TITLE, SmallShop, Thing, draw

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: install lookalike[dev]")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_spec("gradio") is None, reason="the page needs gradio: install lookalike[page]"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine to look at the page with"),
]

QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
DESKTOP, PHONE = {"width": 1280, "height": 1120}, {"width": 500, "height": 1000}
ROOT = Path(__file__).parents[3]
START_S = 150.0  # Gradio's import takes long on a busy machine


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's process would put temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(temporary: Path) -> Iterator[str]:
    """The page's address, with the API and the page as processes of their own."""
    api_port, page_port = free_port(), free_port()
    api = f"http://127.0.0.1:{api_port}"
    environment = {**os.environ, "TMPDIR": str(temporary), "GRADIO_TEMP_DIR": str(temporary)}
    commands = [
        ["tests.webui.page.small_shop", str(api_port)],
        ["webui.page", "--api", api, "--port", str(page_port)],
    ]
    processes = [subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment) for command in commands]
    try:
        page = f"http://127.0.0.1:{page_port}"
        for url in (f"{api}/healthz", page):
            wait_for(url, processes)
        yield page
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + FAKE_CAMERA)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser: Any, address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One tab at desktop width for all tests that do not need a fresh one: opening takes longest."""
    with tab(browser, address, DESKTOP, tmp_path_factory.mktemp("looks") / "last.png") as page:
        yield page


@pytest.fixture
def page(opened: Any) -> Any:
    """The tab without a filter."""
    clear = opened.locator("#answer .link", has_text="clear")
    if clear.count():
        after(opened, clear.first.click)
    return opened


@contextmanager
def tab(browser: Any, address: str, size: dict[str, int], picture: Path) -> Iterator[Any]:
    """A fresh tab of the page. When it closes, it is pictured, no script has failed, and nobody else was asked."""
    page = browser.new_page(viewport=size)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#answer .welcome")
    yield page
    page.screenshot(path=picture)
    page.close()
    assert errors == []
    fetched = {urlsplit(url) for url in asked if urlsplit(url).scheme not in ("data", "blob")}
    assert {url.hostname for url in fetched} == {"127.0.0.1"}
    assert {url.port for url in fetched} == {urlsplit(address).port}  # the page alone asks the API


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(url: str, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = monotonic() + START_S
    while monotonic() < deadline:
        assert all(process.poll() is None for process in processes), "a server ended by itself"
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            sleep(0.1)
    raise AssertionError(f"{url} does not answer")


# --- What is done on the page, and what is read from it ---------------------------------------------------------------


def after(page: Any, action: Callable[[], object]) -> None:
    """Do something, and wait until its answer is shown."""
    page.evaluate("document.querySelector('#answer').dataset.waiting = ''")
    page.evaluate(
        """() => {
            const answer = document.querySelector('#answer');
            const watch = new MutationObserver(() => { watch.disconnect(); delete answer.dataset.waiting; });
            watch.observe(answer, {childList: true, subtree: true, characterData: true, attributeFilter: ['alt']});
        }"""
    )
    action()
    page.wait_for_selector("#answer:not([data-waiting])")
    page.wait_for_selector("#answer .html-container:not(.pending)")


def upload(page: Any, image: Image.Image, kind: str = "JPEG") -> None:
    file = BytesIO()
    image.save(file, kind)
    send(page, file.getvalue())


def send(page: Any, data: bytes) -> None:
    photo = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data}
    after(page, lambda: page.set_input_files("#photo .pick", photo))


def cards(page: Any, shop: SmallShop) -> list[Thing]:
    """The products like it that are shown, in order."""
    ids = page.eval_on_selector_all("#answer .card", "cards => cards.map(card => card.dataset.product)")
    by_id = {thing.product_id: thing for thing in shop.things}
    return [by_id[product_id] for product_id in ids]


def same(page: Any) -> str:
    return str(page.inner_text("#answer .same h3"))


def photo_of(shop: SmallShop, number: int) -> Image.Image:
    return Image.open(BytesIO(shop.photo(number))).convert("RGB")


# --- The tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_from_an_example_to_a_photo_to_a_filter_to_a_card(
    browser: Any, address: str, shop: SmallShop, size: dict[str, int], tmp_path: Path
) -> None:
    with tab(browser, address, size, tmp_path / "page.png") as page:
        example = page.locator("#answer .examples button").nth(2)
        title = example.get_attribute("title")
        after(page, example.click)
        assert same(page) == title

        thing = shop.things[9]
        upload(page, photo_of(shop, 10).resize((200, 200)))
        assert same(page) == thing.title
        assert page.inner_text("#answer .same .score").split() == ["1.00", "similarity"]
        assert len(cards(page, shop)) == 12
        assert thing not in cards(page, shop)
        assert page.locator("#seen li").count() >= 2
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

        pill = page.locator("#answer .pills > .pill[title=colour]").first
        colour = json.loads(pill.get_attribute("data-ask"))["value"]
        after(page, pill.click)
        passing = [thing for thing in shop.things if thing.facets["colour"] == colour]
        shown = cards(page, shop)
        assert shown
        assert all(thing in passing for thing in shown)
        assert page.inner_text("#answer [role=status]") == f"{len(passing)} of 60 pass your filter"
        assert page.locator("#answer .pill[aria-pressed=true]").first.inner_text().startswith(colour)

        after(page, page.locator("#answer .card button").nth(1).click)
        assert same(page) == (shown[1].title or shown[1].product_id)
        assert all(thing in passing for thing in cards(page, shop))
        assert page.get_attribute("#photo .view img", "src") == f"photos/{shown[1].photo_id}?side=640"
        page.wait_for_function("document.querySelector('#photo .view img').naturalWidth > 0")


def test_a_range_holds_and_more_facets_stay_open(page: Any, shop: SmallShop) -> None:
    upload(page, photo_of(shop, 14))
    page.click("#answer .facets > summary")
    page.fill("#answer .range input[name=low]", "20")
    page.fill("#answer .range input[name=high]", "50.5")
    after(page, lambda: page.click("#answer .range button"))
    prices = [thing.facets["price"] for thing in cards(page, shop)]
    assert prices
    assert all(20 <= price <= 50.5 for price in prices)
    after(page, page.locator("#answer .panel .pill", has_text="sale: yes").click)
    assert all(thing.facets["sale"] and 20 <= thing.facets["price"] <= 50.5 for thing in cards(page, shop))
    assert page.is_visible("#answer .panel")
    after(page, page.locator("#answer .heading .link").click)
    assert len(cards(page, shop)) == 12


def test_a_box_looks_at_one_thing_only(page: Any, shop: SmallShop) -> None:
    red, blue = (next(thing for thing in shop.things if thing.facets["colour"] == name) for name in ("Red", "Blue"))
    both = Image.new("RGB", (480, 240), "white")
    both.paste(photo_of(shop, red.photo_id), (0, 0))
    both.paste(photo_of(shop, blue.photo_id), (240, 0))
    upload(page, both, "PNG")
    area = page.locator("#photo .view").bounding_box()
    edge = area["x"] + area["width"] / 2

    def drag_from(x: float) -> None:
        page.mouse.move(x, area["y"] + 1)
        page.mouse.down()
        page.mouse.move(edge, area["y"] + area["height"] - 1, steps=4)
        page.mouse.up()

    after(page, lambda: drag_from(area["x"] + area["width"] - 2))
    assert same(page) == blue.title
    after(page, lambda: page.locator("#photo .box").press("Escape"))
    assert page.locator("#photo .box.whole").count() == 1
    after(page, lambda: drag_from(area["x"] + 2))
    assert same(page) == (red.title or red.product_id)


def test_photos_come_by_paste_and_camera_too(page: Any, shop: SmallShop) -> None:
    file = BytesIO()
    photo_of(shop, 20).save(file, "PNG")
    paste = """bytes => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'image.png', {type: 'image/png'}));
        document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer}));
    }"""
    after(page, lambda: page.evaluate(paste, list(file.getvalue())))
    assert same(page) == shop.things[19].title

    page.click("#photo [data-source=camera]")
    page.wait_for_function("document.querySelector('#photo video').videoWidth > 0")
    after(page, lambda: page.click("#photo [data-source=take]"))
    assert page.is_visible("#photo .view img")
    assert page.evaluate("document.querySelector('#photo video').srcObject.active") is False
    assert page.is_visible("#answer .same")


def test_a_large_photo_is_scaled_down_on_the_way(page: Any, shop: SmallShop) -> None:
    noise = np.random.default_rng(0).integers(0, 30, (1200, 1200, 3), np.uint8)
    large = Image.fromarray(np.asarray(photo_of(shop, 15).resize((1200, 1200))) // 8 * 7 + noise)
    sent: list[int] = []
    page.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
    upload(page, large, "PNG")
    assert same(page) == shop.things[14].title
    assert 100_000 < max(sent) < 2_500_000


def test_a_file_that_is_no_photo_is_one_calm_sentence(page: Any) -> None:
    send(page, b"this is no photo")
    notice = page.inner_text("#answer [role=alert] p >> nth=0")
    assert notice.count(".") == 1
    assert "Traceback" not in notice


def test_a_title_is_never_run(page: Any, shop: SmallShop) -> None:
    upload(page, photo_of(shop, 1))
    assert same(page) == " ".join(NASTY_TITLE.split())
    assert page.title() == "Lookalike"


def test_pills_and_folds_answer_to_the_keyboard(page: Any, shop: SmallShop) -> None:
    upload(page, draw("Vase", COLOURS["Green"], np.random.default_rng(3)))
    page.focus("#answer .pills > .pill >> nth=0")
    after(page, lambda: page.keyboard.press("Enter"))
    assert page.locator("#answer .pill[aria-pressed=true]").count() >= 1
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    page.focus("#answer .plan summary")
    page.keyboard.press("Enter")
    assert "compared exactly" in page.inner_text("#answer .plan")
    assert page.locator("#answer .plan tbody tr").count() == 3


def test_no_photo_is_left_on_a_disk(page: Any, shop: SmallShop, temporary: Path) -> None:
    upload(page, photo_of(shop, 8))
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
