"""`lookalike import` as a person types it: what it prints, and what it exits with."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from engine.catalogue.store import Catalogue
from lookalike.main import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of four photos of two mugs; the fourth photo is missing."""
    for number in range(3):
        file = BytesIO()
        Image.new("RGB", (4, 4), (number, 0, 0)).save(file, "PNG")
        (tmp_path / f"{number}.png").write_bytes(file.getvalue())
    (tmp_path / "photos.csv").write_text(
        "image,product_id,title,price,split\n"
        "0.png,mug-1,A mug,4.5,train\n"
        "1.png,mug-1,A mug,4.5,val\n"
        "2.png,mug-2,A cup,5,train\n"
        "3.png,mug-2,A cup,5,val\n"
    )
    return tmp_path


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["import", *map(str, arguments)])
    return ended.value.code


def test_the_summary_says_what_became_of_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "photos.csv", "--catalogue", folder / "shop.db") == 0
    printed = capsys.readouterr()
    for words in ("4 rows", "products", "price", "number", "4.5, 5", "not of the products: split"):
        assert words in printed.out
    assert f"Rejected: 1 of 4 rows; {folder / 'rejected.csv'} says why." in printed.err
    with Catalogue.open(folder / "shop.db") as catalogue, catalogue.snapshot() as view:
        assert (view.count_products(), view.count_photos()) == (2, 3)


def test_the_report_as_json_can_be_read_by_a_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--where", "split=train", "--facet", "price:keyword", "--json"]
    assert run(folder / "photos.csv", "--catalogue", folder / "shop.db", *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["products_new"], report["photos_new"], report["rows_rejected"]) == (2, 2, 0)
    assert report["facets"] == [
        {
            "facet": {"name": "price", "type": "keyword"},
            "origin": "declared",
            "products": 2,
            "distinct": 2,
            "examples": ["4.5", "5"],
        }
    ]
    assert report["photo_columns"] == ["split"]


def test_clashes_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder / "photos.csv", "--catalogue", folder / "shop.db", "--facet", "split:keyword")
    assert "row 2: mug-1 has split train, not val" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--image-column", "picture"], 1, "has no column 'picture'"),
        (["--where", "splt=train"], 2, "did you mean 'split'?"),
        (["--where", "split=test"], 1, "check --where"),
        (["--where", "=train"], 2, "cannot be read"),
        (["--facet", "price"], 2, "price:number"),
        (["--facet", "price:money"], 2, "the types are keyword"),
        (["--facet", "size:number"], 2, "no column 'size'"),
        (["--images", "nowhere"], 1, "nowhere"),
        (["--catalogue", "mysql://host/shop"], 2, "postgresql://"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, sentence: str
) -> None:
    assert run(folder / "photos.csv", "--catalogue", folder / "shop.db", *options) == code
    printed = capsys.readouterr().err
    assert sentence in printed
    assert "Traceback" not in printed


def test_a_wrong_table_leaves_no_catalogue_behind(folder: Path) -> None:
    assert run(folder / "photos.csv", "--catalogue", folder / "shop.db", "--image-column", "picture") == 1
    assert run(folder / "missing.csv", "--catalogue", folder / "shop.db") == 1
    assert not (folder / "shop.db").exists()
