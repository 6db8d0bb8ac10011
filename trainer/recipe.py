"""Recipes: a TOML file that says what the trainer does, read into frozen values that can be trusted.

Everything a person can get wrong ends in one sentence that names the line:
`recipes/shop.toml, line 12: unknown key 'qouta' in [[dataset]]; did you mean 'quota'?`
"""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from engine.errors import BadRecipe, MissingFile
from trainer.recipe_checks import check_recipe
from trainer.toml_lines import Path as KeyPath
from trainer.toml_lines import line_of


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=16, le=2048)]  # pixels


class Part(BaseModel):
    """A table of a recipe: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Trunk(Part):
    name: str  # any timm model
    weights: str = "hub"  # "hub": timm's own download; "none": a random start; else a safetensors file
    image_size: Side = 224  # side of the square photos trained on, pixels
    eval_size: Side | None = None  # side measured and served at; None: image_size
    freeze_batch_norm: bool = False  # keep the pretrained statistics, train scale and shift
    # training photos that batch norm's statistics are taken from anew: frozen, once before training (with [pretrain],
    # before that, of its photos); else, for what is measured and exported. 0: they stay as they are
    batch_norm_photos: Annotated[int, Field(ge=0)] = 0
    frozen_stages: Annotated[int, Field(ge=0)] = 0  # stages that stay as they are, from the photo on; a stem is one
    drop_path: Share = 0.0
    options: dict[str, Any] = {}  # more arguments for timm's model, as its source names them: channels, say

    @property
    def served_size(self) -> int:
        """Side in pixels of the photos that are measured and served."""
        return self.eval_size or self.image_size


class Embedding(Part):
    dim: Annotated[int, Field(ge=2, le=8192)] = 256
    pooling: Literal["gem", "average"] = "gem"
    # measured and served are the mean of a photo's and its mirror image's features: steadier, for twice the encoding
    mirrored: bool = False


class Dataset(Part):
    """A table of photos. A quota in products, `per_product` photos of each, needs as many products in the table."""

    name: str
    table: str  # CSV, JSON Lines or Parquet, under --data
    images: str | None = None  # folder or tar, under --data; not needed for pictures inside a Parquet table
    where: Texts = ()  # filters as on the command line, all of which hold for a row to be trained on
    quota: Count = 64  # photos of every batch
    balance: Share = 0.0  # 0: every photo equally often, 1: every class equally often, .5: between (square root)
    per_product: Count = 1  # photos that a batch has of each product it has; 1: photos are drawn one by one
    product: str = "product_id"  # column that says which photos show one product, for `per_product`


class Task(Part):
    """One loss. Its label is one column, or for grouped_softmax several, each with a softmax of its own."""

    name: str
    # whose photos it learns from; of several datasets the same label is the same class, and pairs go across
    dataset: Annotated[Texts, Field(min_length=1)]
    label: str = ""  # column of each dataset's table; an empty cell is "no label" and gives no gradient
    labels: tuple[str, ...] = ()  # grouped_softmax: the columns, instead of `label`
    on: Literal["embedding", "trunk"] = "trunk"  # "trunk": a linear head on the features, kept for predictions
    loss: Literal[
        "softmax",
        "norm_softmax",  # what softmax is on the embedding
        "multilabel_softmax",
        "grouped_softmax",
        "arcface",
        "multilabel_arcface",
        "pairwise",
    ] = "softmax"
    weight: NotNegative = 1.0
    temperature: Positive = 0.05  # softmax on the embedding: cosines are divided by it
    scale: Positive = 30.0  # arcface: cosines are multiplied by it
    margin: Annotated[float, Field(ge=0, lt=1.5708)] = 0.2  # arcface: radians added to the angle of the true class
    positives: Literal["together", "apart"] = "together"  # multilabel_arcface: in one softmax, or each in its own
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    sampled_classes: Annotated[int, Field(ge=0)] = 0  # of a bank in the processor's memory, in each step; 0: no bank
    # pairwise: squared distances, 0 to 4, between which pairs of one product, and of two, are drawn and pushed
    positive_margins: tuple[NotNegative, Positive] = (0.1, 0.7)
    negative_margins: tuple[NotNegative, Positive] = (0.0, 0.7)
    power: Annotated[float, Field(ge=1)] = 1.5
    negative_weight: NotNegative = 10_000.0

    @property
    def heads(self) -> tuple[tuple[str, str], ...]:
        """(name, column) of each group of classes: `name` and `label`, or of a grouped softmax `name.column`."""
        if self.loss == "grouped_softmax":
            return tuple((f"{self.name}.{label}", label) for label in self.labels)
        return ((self.name, self.label),)


class Augment(Part):
    """What happens to a photo before it is trained on, in this order; `keep` is about memory."""

    scale: tuple[Positive, Positive] = (0.35, 1.0)  # share of the area that a random crop keeps
    ratio: tuple[Positive, Positive] = (0.75, 1.3333)  # width : height of the crop
    flip: Share = 0.5
    auto_augment: str | None = None  # timm's name of a policy, "rand-m6-mstd0.5-inc1" say
    colour_jitter: NotNegative = 0.0  # brightness, contrast, saturation; beside auto_augment too
    erasing: Share = 0.0
    mixup: Share = 0.0  # probability that a batch is mixed with itself, pixel by pixel
    cutmix: Share = 0.0  # … by a pasted rectangle
    mix_alpha: Positive = 1.0  # Beta(alpha, alpha) of the mixing share
    keep: Annotated[float, Field(ge=1)] = 1.15  # photos are kept with a short side of keep x image_size
    keep_gb: NotNegative = 2.0  # memory for decoded photos; the rest are decoded each time


class Schedule(Part):
    epochs: Count
    optimizer: str = "adamw"  # any timm optimiser
    learning_rate: Positive = 3e-4  # of the trunk
    head_learning_rate: Positive = 2e-3  # of everything that is new
    proxy_learning_rate: Positive = 0.1  # of proxy banks, which learn by plain gradient descent without momentum
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # each layer from the top learns this much slower
    weight_decay: NotNegative = 0.05
    warmup_epochs: NotNegative = 1.0
    new_layers_epochs: NotNegative = 0.0  # at the beginning, in which only what is new learns and the trunk waits
    epoch_steps: Count | None = None  # None: as many as the largest dataset needs to be seen once
    scheduler: Literal["cosine", "constant"] = "cosine"
    clip: NotNegative = 5.0  # largest gradient norm, 0: no clipping
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay per step of the average that is measured and kept, 0: none
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_minutes: Positive = 5.0  # longest work lost by a kill; each epoch's end is kept too
    best_by: str = ""  # label of a [[validation]]: the epoch with its best precision@1 is exported; "": the last one


class Teacher(Part):
    """A trained model that this one learns from (`trainer.teacher`), and that labels photos for [pretrain]."""

    model: Path  # its model directory
    embedding: NotNegative = 0.0  # weight of the distance to its embedding, or between cosines of pairs if dim differs
    heads: NotNegative = 0.0  # weight of the divergence from its heads of the same name and classes, each
    temperature: Positive = 2.0  # that softens the heads' predictions


class Pretrain(Part):
    """Photos without labels that [teacher] labels and that are trained on alone, before all else."""

    table: str  # under --data
    images: str | None = None
    where: Texts = ()
    quota: Count | None = None  # photos of a batch; None: as many as the batches of true labels have
    heads: Annotated[Texts, Field(min_length=1)]  # of the teacher, whose classes are learnt
    classes_per_photo: Count  # the likeliest so many classes of a photo make it a candidate for them
    photos_per_class: Count  # the surest so many candidates of a class are its photos
    epochs: Count


class Validation(Part):
    dataset: str
    queries: Texts
    gallery: Texts
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    every: Count = 1  # epochs between two measurements; the last epoch is always measured


class Recipe(Part):
    """A whole recipe. `source` is its text, kept beside the model that it makes, and errors name `file`."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    trunk: Trunk
    embedding: Embedding = Embedding()
    dataset: Annotated[tuple[Dataset, ...], Field(min_length=1)]
    task: Annotated[tuple[Task, ...], Field(min_length=1)]
    augment: Augment = Augment()
    schedule: Schedule
    teacher: Teacher | None = None
    pretrain: Pretrain | None = None
    validation: tuple[Validation, ...] = ()
    source: str = Field(default="", exclude=True, repr=False)
    file: str = Field(default="the recipe", exclude=True, repr=False)

    @property
    def batch(self) -> int:
        """Photos of a batch, all datasets together."""
        return sum(dataset.quota for dataset in self.dataset)

    def validation_name(self, number: int) -> str:
        """What that [[validation]]'s figures are recorded under: its dataset, with a number where that has several."""
        dataset = self.validation[number].dataset
        alone = sum(each.dataset == dataset for each in self.validation) == 1
        return dataset if alone else f"{dataset}, validation {number + 1}"

    def refuse(self, key: KeyPath, sentence: str) -> NoReturn:
        """Raises BadRecipe with the line that `key`, ("task", 1, "loss") say, stands on."""
        _refuse(self.source, self.file, key, sentence)


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`; MissingFile, or BadRecipe with the line and what would be right."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"There is no recipe {path}; recipes/ holds some to start from.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} cannot be read as a recipe ({error}); it must be TOML in UTF-8.") from None
    return parse_recipe(text, str(path))


def parse_recipe(text: str, file: str) -> Recipe:
    """The recipe that `text` says; errors call it `file`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadRecipe(f"{file} is not TOML: {error}.") from None
    for key in {"source", "file"} & tables.keys():
        _refuse(text, file, (key,), f"unknown key {key!r}; remove it")
    try:
        recipe = Recipe.model_validate({**tables, "source": text, "file": file})
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        _refuse(text, file, first["loc"], _sentence(first))
    check_recipe(recipe)
    return recipe


def with_epochs(recipe: Recipe, epochs: int, file: str) -> Recipe:
    """The same recipe with another number of epochs, in its text too, so that a model's recipe.toml stays true."""
    lines = recipe.source.splitlines(keepends=True)
    lines[line_of(recipe.source, ("schedule", "epochs")) - 1] = f"epochs = {epochs}\n"
    return parse_recipe("".join(lines), file)


def _refuse(text: str, file: str, key: KeyPath, sentence: str) -> NoReturn:
    end = "" if sentence.endswith((".", "?")) else "."
    raise BadRecipe(f"{file}, line {line_of(text, key)}: {sentence}{end}")


def _table_name(key: KeyPath) -> str:
    """How the table that holds a key is written: "[schedule]", "[[task]]" or "the recipe"."""
    if len(key) < 2:
        return "the recipe"
    return f"[[{key[0]}]]" if isinstance(key[1], int) else f"[{key[0]}]"


def _sentence(error: ErrorDetails) -> str:
    key = error["loc"]
    table = _table_name(key)
    # a key inside a table of tables is (table, number, key): the last text is what the person wrote
    name = next((part for part in reversed(key) if isinstance(part, str)), "")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(name, _keys_of(key), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(_keys_of(key))}"
        return f"unknown key {name!r} in {table}; {hint}"
    if error["type"] == "missing":
        return f"{table} lacks {name!r}; add it"
    expected = error["msg"][0].lower() + error["msg"][1:]
    return f"{name} = {error['input']!r} in {table} does not do; {expected}"


def _keys_of(key: KeyPath) -> list[str]:
    """The keys that the table around `key` takes."""
    parts: dict[str, type[Part]] = {
        "trunk": Trunk,
        "embedding": Embedding,
        "dataset": Dataset,
        "task": Task,
        "augment": Augment,
        "schedule": Schedule,
        "teacher": Teacher,
        "pretrain": Pretrain,
        "validation": Validation,
    }
    part = parts.get(str(key[0]), Recipe) if len(key) > 1 else Recipe
    return [name for name in part.model_fields if name not in ("source", "file")]
