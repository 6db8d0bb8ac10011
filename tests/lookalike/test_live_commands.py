"""`lookalike upsert`, `set` and `delete`, and `search --catalogue`, as a person or a script calls them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.catalogue.store import Catalogue
from lookalike.main import main
from tests.indexer.shop import draw, shop

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `shop.db`, `index/`, `model/` and a photo `new.png` that nobody has yet."""
    with shop(tmp_path, products=4) as opened:
        opened.build()
    (tmp_path / "new.png").write_bytes(draw(50, 0))
    (tmp_path / "bad.png").write_bytes(b"no photo")
    return tmp_path


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in the folder -> exit code, standard output, standard error."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        shown = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, shown.out, shown.err

    return run


def found(call: Call, *filters: str) -> list[str]:
    """What `search --catalogue` finds for the new photo."""
    wishes = [word for text in filters for word in ("--filter", text)]
    code, out, err = call("search", "new.png", "--index", "index", "--catalogue", "shop.db", "--json", *wishes)
    assert code == 0, err
    return [hit["product_id"] for hit in json.loads(out)["exact"]["products"]]


def test_what_is_upserted_set_and_deleted_is_found_at_once_and_no_more(call: Call, folder: Path) -> None:
    code, out, err = call(
        *("upsert", "n1", "--catalogue", "shop.db", "--index", "index", "--photo", "new.png", "--title", "New"),
        *("--set", "colour=Red", "--set", "tags=b|a", "--facet", "tags:keywords", "--json"),
    )
    assert code == 0, err
    done = json.loads(out)
    assert done["written"][0]["effect"] == "new" and done["written"][0]["photos_new"] == 1
    assert found(call)[0] == "n1"
    assert found(call, "tags=a") == ["n1"]
    (photo,) = (folder / "photos").rglob("*.png")
    assert photo.read_bytes() == draw(50, 0)
    code, out, _ = call("set", "n1", "price=7.5", "colour=", "--catalogue", "shop.db")
    assert code == 0 and f"change {done['change_number'] + 1}" in out
    with Catalogue.open("shop.db") as catalogue:
        assert catalogue.product("n1").facets == {"price": 7.5, "tags": ("a", "b")}
    assert found(call, "price=7..8") == ["n1"]
    photo_id = str(done["written"][0]["photo_ids"][0])
    code, out, _ = call("delete", "p0001", "--photo", photo_id, "--catalogue", "shop.db")
    assert code == 0 and "1 products and 1 single photos" in out
    assert sorted(found(call)) == ["p0000", "p0002", "p0003"]


def test_an_upsert_in_words_without_photos_needs_no_model(call: Call) -> None:
    code, out, _ = call("upsert", "p0002", "--catalogue", "shop.db", "--set", "price=1")
    assert code == 0
    assert "p0002: changed, no photo given; the catalogue is at change" in out
    code, out, _ = call("upsert", "p0002", "--catalogue", "shop.db", "--model", "model", "--photo", "new.png")
    assert code == 0
    assert "p0002: unchanged, 1 of 1 photos new (9)" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("upsert", "a", "--photo", "new.png"), 2, "name the index they are for (--index), or the model (--model)"),
        (("upsert", "a", "--photo", "nowhere.png", "--index", "index"), 1, "There is no photo nowhere.png"),
        (("upsert", "a", "--photo", "bad.png", "--index", "index"), 1, "photo 1 of 'a' is no picture"),
        (("upsert", "a", "--photo", "new.png", "--index", "nowhere"), 1, "There is no finished index in nowhere"),
        (("upsert", "a/b"), 2, "cannot be a product_id"),
        (("upsert", "a", "--set", "size=L"), 2, "declare it with --facet size:keyword"),
        (("upsert", "a", "--set", "price=cheap"), 2, "'price' holds number values and 'cheap' is none"),
        (("upsert", "a", "--set", "price="), 2, "use `lookalike set a price=`"),
        (("upsert", "a", "--facet", "price:keyword", "--set", "price=x"), 2, "is a number in this catalogue"),
        (("set", "p9", "price=1"), 1, "The catalogue has no product 'p9'"),
        (("set", "p0001", "price"), 2, "write name=value, or name="),
        (("delete",), 2, "Nothing is named to be deleted"),
        (("delete", "p0001", "p9"), 1, "The catalogue has no product 'p9'"),
        (("delete", "--photo", "99"), 1, "The catalogue has no photo 99"),
    ],
)
def test_a_change_that_cannot_be_is_one_sentence_and_changes_nothing(
    call: Call, arguments: tuple[str, ...], code: int, says: str
) -> None:
    with Catalogue.open("shop.db") as catalogue:
        before = catalogue.change_number()
    left, out, err = call(*arguments, "--catalogue", "shop.db")
    assert (left, out) == (code, ""), err
    assert says in err
    assert err.startswith("Error: ") and len(err.splitlines()) == 1
    with Catalogue.open("shop.db") as catalogue:
        assert catalogue.change_number() == before


def test_a_catalogue_that_is_not_there_is_not_made(call: Call, folder: Path) -> None:
    code, _, err = call("upsert", "a", "--catalogue", "nowhere.db")
    assert code == 1 and "There is no catalogue nowhere.db" in err
    assert not (folder / "nowhere.db").exists()
