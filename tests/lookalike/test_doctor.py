import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.catalogue.schema import Product
from engine.catalogue.store import Catalogue
from engine.settings import settings
from lookalike.checkup import Package, check_installation, missing_by_extra
from lookalike.commands.doctor import command
from tests.fakes import tiny_model
from tests.indexer.shop import shop

BASE = Package("numpy", None, "2.4")
CPU, GPU = Package("faiss-cpu", "cpu", "1.15"), Package("faiss-gpu", "gpu", "1.15")


def doctor(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)))


def report(*arguments: str | Path) -> dict[str, Any]:
    return json.loads(doctor(*arguments, "--json").stdout)


def check(found: dict[str, Any], what: str) -> dict[str, Any]:
    return next(check for check in found["checks"] if check["what"] == what)


def test_this_installation_is_healthy_and_says_what_it_is() -> None:
    found = report()
    assert found["healthy"] is True
    assert {"name": "numpy", "extra": None, "version": version("numpy")} in found["packages"]
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["disk_free"] > 0


def test_a_person_sees_the_same() -> None:
    done = doctor()
    assert done.exit_code == 0
    for word in ("Python", "cores", "GiB", "faiss-cpu", version("numpy"), "cpu: complete", "ok  base"):
        assert word in done.stdout


def test_extras_that_lack_something_name_it() -> None:
    torch = Package("torch", "train", None)
    assert missing_by_extra((BASE, CPU, torch, Package("timm", "train", "1.0"))) == {"cpu": [], "train": ["torch"]}


@pytest.mark.parametrize(
    ("found", "bad", "said"),
    [
        ((BASE, CPU), None, ""),
        ((BASE, GPU), None, ""),
        ((BASE,), "faiss", "lookalike[cpu]"),
        ((BASE, CPU, GPU), "faiss", "uninstall one"),
        ((Package("numpy", None, None), CPU), "base", "numpy missing"),
    ],
)
def test_an_installation_that_cannot_search_says_what_to_do(
    found: tuple[Package, ...], bad: str | None, said: str
) -> None:
    checks = check_installation(found)
    assert [check.what for check in checks if not check.healthy] == ([bad] if bad else [])
    assert said in " ".join(check.text for check in checks if not check.healthy)


def test_a_wrong_setting_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.cache_clear()
    monkeypatch.setenv("LOOKALIKE_THREADS", "many")
    done = doctor("--json")
    settings.cache_clear()
    assert done.exit_code == 1
    assert "LOOKALIKE_THREADS" in check(json.loads(done.stdout), "settings")["text"]


def test_a_sound_model_is_tried_and_named(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    found = check(report("--model", model.path), "model")
    assert found["healthy"] is True
    assert model.spec.model_id[:12] in found["text"]


def test_a_model_with_one_changed_byte_is_not_well(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    data = bytearray(model.heads_path.read_bytes())
    data[-1] ^= 1
    model.heads_path.write_bytes(data)
    done = doctor("--model", model.path)
    assert done.exit_code == 1
    assert "BAD  model" in done.stdout
    assert "heads.safetensors" in done.stdout


def test_a_catalogue_is_counted(tmp_path: Path) -> None:
    with Catalogue.open(tmp_path / "shop.db", create=True) as catalogue, catalogue.transaction() as writer:
        writer.upsert_product(Product("chair-1", "A chair"))
    assert "products 1, photos 0" in check(report("--catalogue", tmp_path / "shop.db"), "catalogue")["text"]


@pytest.mark.parametrize("option", ["--index", "--model", "--catalogue"])
def test_what_is_not_there_is_one_sentence_and_exit_1(tmp_path: Path, option: str) -> None:
    done = doctor(option, tmp_path / "nowhere", "--json")
    assert done.exit_code == 1
    found = check(json.loads(done.stdout), option.removeprefix("--"))
    assert found["healthy"] is False
    assert str(tmp_path / "nowhere") in found["text"]


def test_an_index_is_tried_with_the_model_inside_it(tmp_path: Path) -> None:
    with shop(tmp_path) as small:
        small.build()
    found = check(report("--index", small.index), "index")
    assert found["healthy"] is True
    assert "generation 000001, products 12, photos 24" in found["text"]
    next((small.index / "models").glob("*/encoder.onnx")).write_bytes(b"damaged")
    found = check(report("--index", small.index), "index")
    assert found["healthy"] is False
    assert "encoder.onnx" in found["text"]
