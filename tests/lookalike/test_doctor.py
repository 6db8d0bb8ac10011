import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.catalogue.schema import Product
from engine.catalogue.store import Catalogue
from engine.settings import settings
from engine.storage.generation import Generation, open_index
from lookalike.checkup import Package, check_disk, check_installation, check_memory, held_bytes, missing_by_extra
from lookalike.commands.doctor import command
from lookalike.machine import disk_free, memory_of, size_text
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


# --- Room ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    with shop(tmp_path_factory.mktemp("shop")) as small:
        small.build()
    return open_index(small.index)


def test_what_answering_holds_is_what_faiss_reads(generation: Generation) -> None:
    files = [path for path in generation.path.iterdir() if path.suffix == ".faiss"]
    assert held_bytes(generation) == sum(path.stat().st_size for path in files) > 0


def test_too_little_memory_for_the_codes_is_a_finding(generation: Generation) -> None:
    held = held_bytes(generation)
    assert check_memory(generation, 1 << 40, held).healthy
    low = check_memory(generation, 1 << 40, held - 1)
    assert not low.healthy
    assert "more memory" in low.text
    assert check_memory(generation, None, None).healthy


def test_too_little_disk_for_a_generation_is_a_finding(tmp_path: Path) -> None:
    assert check_disk(tmp_path, 1000, free=1000).healthy
    assert "make room" in check_disk(tmp_path, 1000, free=999).text
    assert check_disk(tmp_path, 0).healthy
    assert not check_disk(tmp_path, 1 << 62).healthy


def test_a_place_that_will_be_made_has_the_room_of_its_disk(tmp_path: Path) -> None:
    assert disk_free(tmp_path / "not" / "yet") == pytest.approx(disk_free(tmp_path), rel=0.01)


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        (None, None, (8 * 1024**3, 4 * 1024**3)),
        ("max", 5, (8 * 1024**3, 4 * 1024**3)),
        (1024**3, 256 * 1024**2, (1024**3, 768 * 1024**2)),
        (1024**3, 2 * 1024**3, (1024**3, 0)),
        (16 * 1024**3, 1, (8 * 1024**3, 4 * 1024**3)),
    ],
)
def test_memory_is_what_a_container_leaves_of_it(
    tmp_path: Path, limit: int | str | None, used: int | None, expected: tuple[int, int]
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8388608 kB\nMemFree:  9 kB\nMemAvailable:  4194304 kB\nHugePages_Total: 0\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
    assert memory_of(meminfo, tmp_path) == expected


def test_memory_that_is_not_told_is_unknown(tmp_path: Path) -> None:
    assert memory_of(tmp_path / "none", tmp_path)[1] is None
    assert size_text(None) == "unknown"


# --- An index and its catalogue --------------------------------------------------------------------------------------


def test_an_index_and_its_catalogue_are_a_pair(tmp_path: Path) -> None:
    with shop(tmp_path) as small:
        small.build()
        number = small.catalogue.change_number()
        small.stock(range(50, 51))
    found = report("--index", small.index, "--catalogue", tmp_path / "shop.db")
    assert found["healthy"] is True
    assert f"up to change {number} of {number + 3}" in check(found, "index of the catalogue")["text"]
    assert {"disk", "memory", "catalogue's disk"} <= {one["what"] for one in found["checks"]}


def test_a_stranger_among_catalogues_is_a_finding(tmp_path: Path) -> None:
    with shop(tmp_path) as small:
        small.build()
    Catalogue.open(tmp_path / "other.db", create=True).close()
    done = doctor("--index", small.index, "--catalogue", tmp_path / "other.db")
    assert done.exit_code == 1
    assert "BAD  index of the catalogue" in done.stdout


# --- What serve is configured with -----------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LOOKALIKE_CONFIG", "")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_what_serve_is_configured_with_is_tried(here: Path) -> None:
    (here / "lookalike.toml").write_text("threads = 1\n[serve]\nindex = 'nowhere'\ncatalogue = 'nothing.db'")
    found = report()
    assert "nowhere" in check(found, "index")["text"]
    assert "nothing.db" in check(found, "catalogue")["text"]
    assert "threads=1 (lookalike.toml)" in check(found, "settings")["text"]
    assert [one["what"] for one in report("--model", "none")["checks"]][-1] == "model"


def test_a_configuration_that_cannot_be_is_a_finding(here: Path) -> None:
    (here / "lookalike.toml").write_text("[serve]\nprot = 1")
    done = doctor("--json")
    assert done.exit_code == 1
    assert "did you mean port?" in check(json.loads(done.stdout), "settings")["text"]
