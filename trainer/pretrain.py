"""The semi-supervised recipe: a student learns from its teacher's labels alone, and then from true labels alone.

Yalniz et al., "Billion-scale semi-supervised learning for image classification", arXiv:1905.00546: (1) the teacher
predicts the classes of unlabelled photos, (2) the best are chosen (`trainer.labels.teach`), (3) the student is trained
on those and nothing else, (4) fine-tuned on the labelled photos and nothing else. Steps 1 to 3 are an ordinary training
in `<out>/pretrain`, by a recipe that is derived from the student's; step 4 begins from its weights.
"""

import json
from pathlib import Path

from safetensors.torch import load_file

from engine.errors import BadFilter, BadTable, LookalikeError, MissingFile
from engine.sources.photos import ParquetPhotos
from engine.sources.tables import columns
from engine.storage.files import write_text
from engine.telemetry import Progress
from engine.vision.model import WEIGHTS_FILE, Model
from trainer.labels.jobs import teach_table
from trainer.labels.tables import PhotoTable, read_photo_table
from trainer.network import Network
from trainer.recipe import Pretrain, Recipe, parse_recipe
from trainer.recipe_faults import blaming
from trainer.teacher import open_teacher

FOLDER = "pretrain"


def pretraining_recipe(recipe: Recipe, table: Path, images: Path | None) -> Recipe:
    """The student's recipe with the taught photos as its only dataset and the teacher's heads as its only tasks.

    `table` and `images` as absolute paths. Each head is learnt on the trunk and on the embedding, since both are wanted
    in what follows.
    """
    options = recipe.pretrain
    assert options is not None
    schedule = recipe.schedule.model_dump(exclude={"best_by", "epoch_steps"}) | {"epochs": options.epochs}
    lines = [
        f"name = {_quoted(f'{recipe.name}, taught')}",
        f"seed = {recipe.seed}",
        *_table("trunk", recipe.trunk.model_dump(exclude_none=True)),
        *_table("embedding", recipe.embedding.model_dump(exclude_none=True)),
        "[[dataset]]",
        'name = "taught"',
        f"table = {_quoted(str(table))}",
        *([f"images = {_quoted(str(images))}"] if images is not None else []),
        f"quota = {options.quota or recipe.batch}",
        *(
            f'[[task]]\nname = {_quoted(_task_name(head, on))}\ndataset = "taught"\nlabel = {_quoted(head)}\n'
            f'on = "{on}"\nloss = "multilabel_softmax"'
            for head in options.heads
            for on in ("trunk", "embedding")
        ),
        *_table("augment", recipe.augment.model_dump(exclude_none=True)),
        *_table("schedule", schedule),
    ]
    return parse_recipe("\n".join(lines) + "\n", f"the recipe derived from [pretrain] of {recipe.name}")


def taught_table(recipe: Recipe, data: Path, out: Path) -> Path:
    """The absolute path of the table in `out` that `teach_photos` writes: of the kind of the unlabelled photos' own."""
    assert recipe.pretrain is not None
    return out.resolve() / f"taught{(data / recipe.pretrain.table).suffix}"


def read_unlabelled(recipe: Recipe, data: Path) -> tuple[str, ...]:
    """The URIs of the photos of [pretrain]; BadRecipe, with the line, where they cannot be had."""
    assert recipe.pretrain is not None
    table, where = data / recipe.pretrain.table, recipe.pretrain.where
    with blaming(recipe, ("pretrain", "table"), MissingFile, BadTable):
        there, images = columns(table), images_of(recipe, data)
    if "image" not in there:
        recipe.refuse(("pretrain", "table"), f"{table} has no column 'image'; it has {', '.join(there)}")
    if images is not None and not images.exists():
        recipe.refuse(("pretrain", "images"), f"there is no {images}; correct images or --data")
    with (
        blaming(recipe, ("pretrain", "images"), MissingFile),
        blaming(recipe, ("pretrain", "where" if where else "table"), BadFilter, BadTable),
    ):
        return read_photo_table(PhotoTable(table, images, where), [], by_address=True).uris


def teach_photos(recipe: Recipe, data: Path, out: Path, progress: Progress) -> None:
    """Labels the unlabelled photos of [pretrain] into a table in `out`, once.

    A table that is there is used again only if the same teacher made it of the same table by the same options.
    """
    options = recipe.pretrain
    assert options is not None
    source = data / options.table
    taught = taught_table(recipe, data, out)
    model = open_teacher(recipe)
    receipt = json.dumps({"teacher": model.spec.model_id, "table": _state(source), **_asked(options)}, indent=1) + "\n"
    record = out / "taught.json"
    if taught.is_file() and record.is_file() and record.read_text(encoding="utf-8") == receipt:
        return
    out.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    counts = teach_table(
        PhotoTable(source, images_of(recipe, data), options.where),
        taught,
        model,
        options.heads,
        classes_per_photo=options.classes_per_photo,
        photos_per_class=options.photos_per_class,
        progress=progress,
    )
    write_text(record, receipt)
    progress.note("Taught: " + ", ".join(f"{count:,} photos by {head!r}" for head, count in counts.items()) + ".")


def images_of(recipe: Recipe, data: Path) -> Path | None:
    """Where the photos of [pretrain] are, absolute: the table of their labels lies elsewhere; None in the table."""
    assert recipe.pretrain is not None
    source = (data / recipe.pretrain.table).resolve()
    if recipe.pretrain.images is not None:
        return (data / recipe.pretrain.images).resolve()
    inside = source.suffix.lower() in {".parquet", ".pq"} and bool(ParquetPhotos.columns_of(source))
    return None if inside else source.parent


def photos_taught(directory: Path) -> int | None:
    """How many photos the pretraining in `directory` was trained on; None where its model is there no longer."""
    try:
        photos: int | None = Model.open(directory).spec.training["photos"].get("taught")
    except (LookalikeError, KeyError):
        return None
    return photos


def load_learnt(network: Network, directory: Path) -> None:
    """Puts what a pretraining in `directory` learnt, but for its classifiers, into a network of the same recipe."""
    tensors = load_file(directory / WEIGHTS_FILE)
    learnt = {name: tensor for name, tensor in tensors.items() if not name.startswith("losses.")}
    missing, unexpected = network.load_state_dict(learnt, strict=False)
    assert not unexpected and all(name.startswith("losses.") for name in missing), (missing, unexpected)


def _task_name(head: str, on: str) -> str:
    return f"{head.replace('.', ' ')} on the {on}"


def _asked(options: Pretrain) -> dict[str, object]:
    return options.model_dump(include={"where", "heads", "classes_per_photo", "photos_per_class"}, mode="json")


def _state(table: Path) -> list[int] | None:
    """Size and time of the last change; None where there is no such file, which whoever reads it will say."""
    if not table.is_file():
        return None
    state = table.stat()
    return [state.st_size, state.st_mtime_ns]


def _table(name: str, values: dict[str, object]) -> list[str]:
    """A recipe's table as TOML; values are what recipes hold: texts, numbers, truths, lists and a flat table."""
    return [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    # JSON's texts, numbers and truths are TOML's too
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
