"""`lookalike search` and `lookalike benchmark` as a person or a script calls them."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.schema import Facet, FacetType, Product
from engine.search.query import MODES
from engine.vision.preprocess import load
from lookalike.main import COMMANDS, main
from tests.engine.search.small_index import Contents, write_index
from tests.fakes import FakeEncoder, photo_bytes, tiny_model

FACETS = (
    Facet("colour", FacetType.KEYWORD),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
    Facet("added", FacetType.TIME),
    Facet("tags", FacetType.KEYWORDS),
)
COLOURS = {"p1": (220, 20, 20), "p2": (150, 30, 40), "p3": (20, 20, 220), "p4": (20, 200, 20)}
PRODUCTS = [
    Product("p1", "Red [bold]shoe", {"colour": "Red", "price": 49.5, "sale": True, "tags": ("a", "b")}),
    Product(
        "p2", "A brick of a name that is rather long", {"colour": "Red", "added": datetime(2026, 5, 1, tzinfo=UTC)}
    ),
    Product("p3", None, {"colour": "Blue", "price": 10.0}),
    Product("p4", "Frog", {"colour": "Green", "price": 70.0}),
]

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `index/`, a query photo of each product and `photos.csv` about them and about two bad rows."""
    root = tmp_path_factory.mktemp("shop")
    encoder = FakeEncoder()
    gallery = [photo_bytes(colour, seed=1) for colour in COLOURS.values()]
    vectors = encoder.encode(np.stack([load(photo, "", encoder.preprocess) for photo in gallery])).embeddings
    contents = Contents(FACETS, PRODUCTS, np.arange(4), vectors.astype(np.float16))
    hashes = {100 + place: sha256(photo).digest() for place, photo in enumerate(gallery)}
    write_index(root / "index", contents, tiny_model(root / "model"), lists=1, hashes=hashes).close()
    rows = [
        (f"{name}.png", name, product.facets["colour"], "val") for name, product in zip(COLOURS, PRODUCTS, strict=True)
    ]
    for name, colour in COLOURS.items():
        (root / f"{name}.png").write_bytes(photo_bytes(colour, seed=2))
    (root / "leak.png").write_bytes(gallery[0])
    (root / "broken.png").write_bytes(b"")
    rows += [("leak.png", "p1", "Red", "val"), ("broken.png", "p1", "Red", "val"), ("p1.png", "p2", "Red", "train")]
    with (root / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "product_id", "colour", "split"), *rows])
    return root


@pytest.fixture
def call(shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in the shop's folder -> exit code, standard output, standard error."""
    monkeypatch.chdir(shop)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        shown = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return code, shown.out, shown.err

    return run


def test_modes_offered_are_those_there_are() -> None:
    for name in ("search", "benchmark"):
        options = {option.opts[0]: option for option in import_module(COMMANDS[name][0]).command.params}
        assert tuple(options["--mode"].type.choices) == MODES


@pytest.mark.parametrize("name", ["search", "benchmark"])
def test_help_loads_nothing_heavy(name: str) -> None:
    probe = f"import sys, {COMMANDS[name][0]}\nprint({{'numpy', 'faiss', 'pyarrow', 'PIL'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_search_shows_both_parts_the_prediction_and_the_plan(call: Call) -> None:
    code, out, _ = call("search", "p1.png", "--index", "index")
    assert code == 0
    exact, similar = out.split("Products like it")
    assert exact.startswith("The same product")
    assert exact.index("p1") < exact.index("p2")
    assert "Red [bold]shoe" in exact
    assert "Red, 49.5, yes" in exact
    assert "A brick of a name that …" in exact
    assert "p1" not in similar.split("Looks like")[0]
    assert "Looks like: colour Red (" in out
    assert "How: " in out and "compared exactly" in out


def test_search_as_json_under_a_filter(call: Call) -> None:
    code, out, _ = call(
        "search", "p3.png", "--index", "index", "--json", "-k", "1", "--filter", "colour=Red", "--filter", "!sale?"
    )
    answer = json.loads(out)
    assert code == 0
    (product,) = answer["exact"]["products"]
    assert product["product_id"] == "p2"
    assert product["facets"] == {"colour": "Red", "added": "2026-05-01T00:00:00+00:00"}
    assert answer["exact"]["verdict"] is answer["exact"]["probability"] is None
    assert (answer["mode"], answer["k"], answer["matching"], answer["products"]) == ("both", 1, 1, 4)
    assert answer["similar"] == {"products": []}
    assert answer["plan"]["path"] == "exact"
    assert answer["plan"]["sentence"].startswith("1 product with 1 photo passes the filter")
    assert answer["predictions"][0]["label"] == "Blue"


def test_search_from_a_product_in_one_mode(call: Call) -> None:
    code, out, _ = call("search", "--product", "p2", "--index", "index", "--mode", "similar", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["exact"] is None
    shown = [product["product_id"] for product in answer["similar"]["products"]]
    assert shown[0] == "p1" and sorted(shown) == ["p1", "p3", "p4"]


def test_search_with_a_box_sees_that_part_only(call: Call) -> None:
    code, out, _ = call("search", "p4.png", "--index", "index", "--box", "0.1,0.1,0.6,0.9", "--json", "-k", "1")
    assert code == 0
    assert json.loads(out)["exact"]["products"][0]["product_id"] == "p4"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nowhere.png",), 1, "There is no photo nowhere.png; check the path."),
        (("broken.png",), 1, "broken.png"),
        (("photos.csv",), 1, "photos.csv"),
        ((), 2, "exactly one of photo, vector and product_id"),
        (("p1.png", "--product", "p1"), 2, "exactly one of photo, vector and product_id"),
        (("p1.png", "-k", "0"), 2, "k is 0; ask for 1 to 1000 products."),
        (("p1.png", "--filter", "color=Red"), 2, "did you mean 'colour'?"),
        (("p1.png", "--filter", "colour"), 2, "cannot be read; write colour=Red"),
        (("p1.png", "--box", "0,0,2,1"), 2, "is not in the photo"),
        (("p1.png", "--box", "0,0"), 2, "is not four numbers"),
        (("--product", "p9"), 1, "There is no product 'p9' in this index"),
    ],
)
def test_search_that_cannot_be_is_one_sentence(call: Call, arguments: tuple[str, ...], code: int, says: str) -> None:
    left, out, err = call("search", "--index", "index", *arguments)
    assert (left, out) == (code, "")
    assert says in err
    assert err.startswith("Error: ") and len(err.splitlines()) == 1


def test_search_without_an_index(call: Call) -> None:
    code, _, err = call("search", "p1.png", "--index", "nowhere")
    assert code == 1
    assert "There is no finished index in nowhere" in err


def test_benchmark_measures_writes_and_shows(call: Call, shop: Path) -> None:
    code, out, err = call(
        *("benchmark", "--index", "index", "--queries", "photos.csv", "--where", "split=val"),
        *("--label", "product_id", "--label", "colour", "--mode", "exact", "--mode", "both", "--json", "out/b.json"),
    )
    assert code == 0, err
    assert "Queries also in the gallery: 1" in err
    assert "cannot be read: 1 (row 6)" in err
    figures = json.loads((shop / "out" / "b.json").read_text())
    assert (figures["format"], figures["queries"]) == (1, 4)
    assert (figures["queries_in_gallery"], figures["queries_unreadable"]) == (1, 1)
    assert [(result["label"], result["mode"]) for result in figures["results"]] == [
        ("product_id", "exact"),
        ("colour", "exact"),
        ("product_id", "both"),
        ("colour", "both"),
    ]
    product, colour = figures["results"][:2]
    for result in (product, colour):
        assert result["precision@1"] == result["recall@1"] == result["recall@5"] == result["recall@10"] == 1
        assert result["mAP"] == 1
        assert result["queries"] == 4
        assert result["interval_95"]["recall@1"][0] == pytest.approx(0.51, abs=0.01)
    assert set(figures["latency_ms"]) == {"encode", "search", "total"}
    files = [path for path in (shop / "index" / "generations").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert figures["bytes_per_photo"] == sum(path.stat().st_size for path in files) / 4
    assert figures["index"]["photos"] == 4
    assert "1.000 ±0.2" in out and "Milliseconds a query" in out


def test_benchmark_under_a_filter_and_a_limit(call: Call, shop: Path) -> None:
    code, _, err = call(
        *("benchmark", "--index", "index", "--queries", "photos.csv", "--where", "split=val", "--label", "product_id"),
        *("--filter", "sale?", "--limit", "3", "--json", "b.json"),
    )
    assert code == 0, err
    assert "product_id, exact: judged by 1; 0 have no value, for 1 nothing that may be shown is relevant." in err
    (result,) = json.loads((shop / "b.json").read_text())["results"]
    # of the rows 1, 3 and 5 the last is in the gallery, and only the first one's product passes
    assert (result["queries"], result["without_relevant"], result["recall@1"]) == (1, 1, 1)
    assert result["filter"] == {"exists": "sale"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--label", "brand"), 1, "photos.csv has no column 'brand'; it has image, product_id, colour, split."),
        (("--label", "split"), 2, "The index has no facet 'split' to judge answers by; use one of product_id, title"),
        (("--label", "colour", "--where", "splt=val"), 2, "no column of photos.csv 'splt' to filter by; did you mean"),
        (("--label", "colour", "--where", "split=test"), 2, "No row of photos.csv is left to ask with"),
        (
            ("--label", "colour", "--where", "image=leak.png|broken.png"),
            2,
            "1 are in the index themselves, 1 cannot be",
        ),
        (("--label", "colour", "--filter", "size=L"), 2, "There is no facet 'size'"),
        (("--label", "colour", "--images", "nowhere"), 1, "nowhere"),
        (("--label", "colour", "--image-column", "file"), 1, "has no column 'file'"),
    ],
)
def test_benchmark_that_cannot_be_is_one_sentence(call: Call, arguments: tuple[str, ...], code: int, says: str) -> None:
    left, out, err = call("benchmark", "--index", "index", "--queries", "photos.csv", *arguments)
    assert (left, out) == (code, "")
    assert says in err
    assert err.splitlines()[-1].startswith("Error: ")
