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
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 1120}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDTHS = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
ROOT = Path(__file__).parents[3]
START_S = 300.0  # Gradio's import takes long on a busy machine
PATIENCE_MS = 120_000
KEY = "lk_read_only_of_the_page"

# Run by Python at the start of the page's process: whom it connects to, a line each.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        where = arguments[1] if event == "socket.connect" else arguments[:2]
        with open(os.environ["WATCHED"], "a") as lines:
            lines.write(f"{where[0]} {where[1]}\\n" if isinstance(where, tuple) else f"{where}\\n")
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's process would put temporary files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the processes leave for the tests to read."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "sitecustomize.py").write_text(WATCH)
    return folder


@pytest.fixture(scope="module")
def address(temporary: Path, beside: Path) -> Iterator[str]:
    """The page's address, with the API and the page as processes of their own."""
    api_port, page_port = free_port(), free_port()
    api = f"http://127.0.0.1:{api_port}"
    own = {"TMPDIR": str(temporary), "LOOKALIKE_API_KEY": KEY, "WATCHED": str(beside / "asked")}
    path = os.pathsep.join([str(beside), str(ROOT), os.environ.get("PYTHONPATH", "")])
    commands = [
        ["tests.webui.page.small_shop", str(api_port), str(beside / "feedback"), KEY],
        ["webui.page", "--api", api, "--port", str(page_port)],
    ]
    environments = [os.environ, {**os.environ, **own, "PYTHONPATH": path}]
    processes = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)
        for command, environment in zip(commands, environments, strict=True)
    ]
    try:
        page = f"http://127.0.0.1:{page_port}"
        for url in (f"{api}/healthz", page):
            wait_for(url, processes)
        (beside / "api").write_text(str(api_port))
        yield page
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)
    assert list(temporary.iterdir()) == []  # its folder for temporary files has gone with it


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + FAKE_CAMERA)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def opened(
    request: pytest.FixtureRequest, browser: Any, address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """One tab a width for all tests that do not need a fresh one: opening takes longest."""
    with tab(browser, address, request.param, tmp_path_factory.mktemp("looks") / "last.png") as page:
        yield page


@pytest.fixture
def page(opened: Any) -> Any:
    """The tab without a filter."""
    clear = opened.locator("#answer .link", has_text="clear")
    if clear.count():
        after(opened, clear.first.click)
    return opened


@contextmanager
def tab(browser: Any, address: str, size: dict[str, Any], picture: Path) -> Iterator[Any]:
    """A fresh tab of the page. When it closes, it is pictured, no script has failed, and nobody else was asked.

    What the page's own policy kept from being asked would be an error on the console.
    """
    page = browser.new_page(**size)
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(f"{said.text} {said.location}") if said.type == "error" else None)
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


@WIDTHS
def test_from_an_example_to_a_photo_to_a_filter_to_a_card(
    browser: Any, address: str, shop: SmallShop, size: dict[str, Any], tmp_path: Path
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
    page.evaluate("window.scrollTo(0, 0)")
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


def test_a_photo_is_dropped_on_the_frame(page: Any, shop: SmallShop) -> None:
    drop = """bytes => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'photo.jpg', {type: 'image/jpeg'}));
        const frame = document.querySelector('#photo .frame');
        for (const name of ['dragover', 'drop'])
            frame.dispatchEvent(new DragEvent(name, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }"""
    after(page, lambda: page.evaluate(drop, list(shop.photo(22))))
    assert same(page) == shop.things[21].title
    assert page.locator("#photo .frame.over").count() == 0


def test_examples_are_kept_at_hand(page: Any, shop: SmallShop) -> None:
    upload(page, photo_of(shop, 14))
    page.click("#photo [data-source=examples]")
    example = page.locator("#examples button").nth(4)
    after(page, example.click)
    assert same(page) == example.get_attribute("title")
    page.click("#photo [data-source=examples]")
    assert not page.is_visible("#examples")


def test_the_query_stays_in_view(page: Any, shop: SmallShop) -> None:
    upload(page, photo_of(shop, 12))
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    if page.viewport_size["width"] > 820:
        seen = page.locator("#photo .frame").bounding_box()
        assert 0 <= seen["y"] < page.viewport_size["height"] / 2
        assert not page.is_visible("#photo .mini")
        page.evaluate("window.scrollTo(0, 0)")
        return
    page.wait_for_selector("#photo .mini:visible")
    page.wait_for_function("document.querySelector('#photo .mini img').naturalWidth > 0")
    seen = page.locator("#photo .mini").bounding_box()
    assert 0 <= seen["y"] < 100
    page.click("#photo .mini")
    page.wait_for_function("window.scrollY === 0")
    page.wait_for_selector("#photo .mini", state="hidden")


def test_more_products_are_shown_on_wish(page: Any, shop: SmallShop) -> None:
    upload(page, photo_of(shop, 17))
    assert len(cards(page, shop)) == 12
    after(page, page.locator("#answer .more button").click)
    assert len(cards(page, shop)) == 24


def test_what_is_wrong_missing_or_clicked_is_told(page: Any, shop: SmallShop, beside: Path) -> None:
    def told() -> list[tuple[str, str | None, int | None]]:
        lines = (beside / "feedback").read_text().splitlines() if (beside / "feedback").exists() else []
        return [(row["kind"], row["product_id"], row["position"]) for row in map(json.loads, lines)]

    before = len(told())
    upload(page, photo_of(shop, 12))
    page.get_by_text("not it", exact=True).click()
    page.wait_for_selector("#told p")
    assert page.inner_text("#told") == "Noted, thank you."
    assert same(page) == shop.things[11].title  # what is shown stays
    page.get_by_text("What I look for is not here").click()
    third = cards(page, shop)[2]
    after(page, page.locator("#answer .card button").nth(2).click)
    assert page.locator("#told p").count() == 0
    wrong, missing, clicked = told()[before:]
    assert wrong == ("wrong", shop.things[11].product_id, 1)
    assert missing == ("not_found", None, None)
    assert clicked == ("click", third.product_id, 3)


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


# --- Accessibility ----------------------------------------------------------------------------------------------------


def accused(page: Any) -> list[str]:
    """What axe finds, whoever made it: the rule, how bad it is, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe looks at the page: lookalike[dev]")
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']} ({one['impact']}): {[node['html'][:120] for node in one['nodes']]}" for one in found]


@WIDTHS
def test_axe_finds_nothing_in_any_state_of_the_page(
    browser: Any, address: str, shop: SmallShop, size: dict[str, Any], tmp_path: Path
) -> None:
    with tab(browser, address, size, tmp_path / "page.png") as page:
        assert accused(page) == []
        upload(page, photo_of(shop, 10))
        after(page, page.locator("#answer .pills > .pill").first.click)
        page.click("#answer .facets > summary")
        page.click("#answer .plan summary")
        page.click("#photo [data-source=examples]")
        page.get_by_text("not it", exact=True).click()
        page.wait_for_selector("#told p")
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(300)
        assert accused(page) == []
        send(page, b"this is no photo")
        page.click("#photo [data-source=camera]")
        page.wait_for_function("document.querySelector('#photo video').videoWidth > 0")
        assert accused(page) == []


# --- Doors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=webui/page/app.py",
        "gradio_api/file/etc/passwd",
        "file=/etc/passwd",
        "gradio_api/proxy=http://127.0.0.1/",
        "gradio_api/info",
        "gradio_api/openapi.json",
        "gradio_api/upload_progress",
        "monitoring",
        "pwa_icon",
        "svelte/../../etc/passwd",
        "static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "assets/..%2f..%2f..%2fetc%2fpasswd",
        "assets//etc/passwd",
        "static//etc/passwd",
        "photos/..%2f..%2fetc%2fpasswd",
        "docs",
        "login",
    ],
)
def test_no_file_and_nothing_of_gradio_beyond_the_page_is_served(address: str, path: str) -> None:
    response = httpx.get(f"{address}/{path}", trust_env=False, follow_redirects=False)
    assert response.status_code in (404, 403)
    assert b"root:" not in response.content


def test_uploads_are_refused_and_leave_nothing(address: str, temporary: Path) -> None:
    with httpx.Client(base_url=address, trust_env=False) as stranger:
        for path in ("/gradio_api/upload", "/upload", "/gradio_api/run/predict", "/gradio_api/call/reply", "/"):
            assert stranger.post(path, files={"files": ("a.bin", bytes(3_000_000))}).status_code == 404
        assert stranger.put("/photos/1", content=b"x").status_code == 404
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_an_action_of_too_many_bytes_is_refused_whatever_length_it_claims(address: str) -> None:
    piece = bytes(4 * 1024 * 1024)
    for body in (piece * 8, (piece for _ in range(8))):  # with its length, and in chunks
        try:
            response = httpx.post(f"{address}/gradio_api/queue/join", content=body, trust_env=False, timeout=120)
        except httpx.TransportError:
            continue  # it answered and closed before all was sent
        assert response.status_code == 413
    assert httpx.get(address, trust_env=False, timeout=120).is_success


def test_it_listens_on_this_machine_only(address: str) -> None:
    port = urlsplit(address).port
    with pytest.raises(
        OSError, match="refused"
    ):  # all of 127/8 is this machine's; a server of every address is there too
        socket.create_connection(("127.0.0.2", int(port or 0)), timeout=10)


def test_the_key_stays_with_the_page(address: str) -> None:
    for path in ("/", "/config", "/theme.css"):
        assert KEY not in httpx.get(address + path, trust_env=False, timeout=120).text


def test_the_page_itself_asks_the_api_alone(page: Any, shop: SmallShop, beside: Path) -> None:
    upload(page, photo_of(shop, 9))
    asked = {tuple(line.split()) for line in (beside / "asked").read_text().splitlines()}
    hosts = {host for host, *_ in asked}
    assert hosts <= {"127.0.0.1", "localhost"}
    assert ("127.0.0.1", (beside / "api").read_text()) in asked
