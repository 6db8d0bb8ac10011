"""Query photos with a word in them that is nowhere else, and a search for that word on the disk and in the logs.

The word is in the file as text, and as the colours of its pixels, so that a decoded picture would show it as well. What
a server opens for writing is noted while it runs, with its children: a file that is removed afterwards counts too.
"""

import json
import os
import secrets
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from io import BytesIO
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.indexer.shop import Shop
from tests.webui.load import Request, form
from tests.webui.serving import Serving

NOTES = "opened-for-writing"
_WATCH = """
import os, sys
_note = os.open(os.environ["CANARY_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR) and isinstance(path, (str, bytes)):
            os.write(_note, os.fsencode(path) + b"\\n")
sys.addaudithook(_watch)
"""


class Canary:
    """A word, photos that carry it, and the places where it must not be."""

    def __init__(self, folder: Path) -> None:
        """`folder` becomes the whole world of a server: its home, its folder for temporary files, its notes."""
        self.word = f"CANARY{secrets.token_hex(12)}".encode()
        self.folder = folder
        self._notes = folder / NOTES
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(_WATCH)
        self.home = folder / "home"
        self.home.mkdir()
        self._hook = hook

    def environment(self, python_path: str) -> dict[str, str]:
        """Variables of a server that keeps to the folder and whose files are watched."""
        places = {name: str(self.home) for name in ("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME")}
        return {**places, "CANARY_NOTES": str(self._notes), "PYTHONPATH": f"{self._hook}:{python_path}"}

    def photo(self, number: int, kind: str = "PNG") -> bytes:
        """A photo of its own that has the word in its file, and in its pixels where the format keeps them."""
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (48, 48, 3)).astype(np.uint8)
        pixels.reshape(-1)[: len(self.word)] = np.frombuffer(self.word, np.uint8)
        file, picture = BytesIO(), Image.fromarray(pixels)
        if kind == "PNG":
            notes = PngInfo()
            notes.add_text("Comment", self.word.decode())
            picture.save(file, "PNG", pnginfo=notes)
        else:
            picture.save(file, kind, comment=self.word)
        assert self.word in file.getvalue()
        return file.getvalue()

    def requests(self, count: int) -> Iterator[Request]:
        """Searches with such photos, in every way a photo can be sent, sound and broken."""
        for number in range(count):
            photo = self.photo(number, "JPEG" if number % 3 == 0 else "PNG")
            match number % 6:
                case 0:
                    yield Request(*form(photo, k="3"))
                case 1:
                    text = json.dumps({"photo": b64encode(photo).decode(), "k": 3})
                    yield Request(text.encode(), {"Content-Type": "application/json"})
                case 2:
                    yield Request(*form(photo[: len(photo) // 2]))
                case 3:
                    yield Request(*form(self.word + photo))
                case 4:
                    yield Request(*form(photo, box="7,8,9,10"))
                case _:
                    yield Request(photo, {"Content-Type": "image/png"})

    def opened_for_writing(self) -> set[str]:
        """The files that were opened for writing so far."""
        return set(self._notes.read_text().splitlines()) if self._notes.exists() else set()

    def places(self) -> list[str]:
        """The files below the folder in which the word is, in whatever form."""
        forms = [self.word, self.word.hex().encode(), *_in_base64(self.word)]
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and any(one in path.read_bytes() for one in forms)
        )


def _in_base64(word: bytes) -> list[bytes]:
    """How base64 shows a word inside a text, by where it begins in a group of three bytes."""
    forms = []
    for before in range(3):
        text = b64encode(bytes(before) + word + bytes(3))
        forms.append(text[ceil(8 * before / 6) : 8 * (before + len(word)) // 6])
    return forms


def check_that_it_is_nowhere(shop: Shop, queries: int, *options: str) -> dict[str, Any]:
    """Asks a server with so many of these photos; statuses, where the word was found, and which files came and went."""
    with TemporaryDirectory(prefix="canary-") as name:  # not below a test's own folder: paths of sockets must be short
        return _check(Canary(Path(name)), shop, queries, *options)


def _check(canary: Canary, shop: Shop, queries: int, *options: str) -> dict[str, Any]:
    folder = canary.folder
    environment = canary.environment(os.pathsep.join(sys.path))
    statuses: Counter[int] = Counter()
    with Serving(shop.index, *options, log=folder / "log", environment=environment, cwd=canary.home) as server:
        before = canary.opened_for_writing()
        connection = HTTPConnection(server.address.removeprefix("http://"))
        for request in canary.requests(queries):
            connection.request(request.method, request.path, request.body, request.headers)
            with connection.getresponse() as response:
                response.read()
                statuses[response.status] += 1
        connection.close()
        opened = canary.opened_for_writing() - before
        unseen = sorted(path for path in opened if not Path(path).is_relative_to(folder) or not Path(path).exists())
        places = canary.places()
    return {
        "queries": queries,
        "statuses": dict(sorted(statuses.items())),
        "places": sorted({*places, *canary.places()}),
        "files_that_came_and_went": unseen,
    }
