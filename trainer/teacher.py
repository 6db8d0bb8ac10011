"""A trained model that teaches: it looks at the very pictures that the student is trained on, cropped and mixed alike.

That costs the teacher's forward pass a step and is worth it: a student that sees what its teacher sees learns the
teacher's function, not its answers on a few pictures (Beyer et al., arXiv:2106.05237).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from engine.errors import DamagedFile, MissingFile, UnsupportedFormat, WrongModel
from engine.vision.model import HEADS_FILE, RECIPE_FILE, WEIGHTS_FILE, Model, ModelSpec
from engine.vision.preprocess import Preprocess
from trainer.losses.distillation import embedding_distance, head_divergence, similarity_distance
from trainer.losses.task_loss import TaskLoss
from trainer.network import Network, Outputs
from trainer.ranks import ALONE, Ranks
from trainer.recipe import Recipe, read_recipe
from trainer.recipe_faults import blaming, naming_lines


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the teacher says about n photos: `embedding` [n, dim], `logits` [n, classes] by head."""

    embedding: Tensor
    logits: Mapping[str, Tensor]


class TeachingModel:
    """The network of a model directory in torch, without gradients, for pictures prepared for another network."""

    def __init__(self, model: Model, prepared: Preprocess, device: torch.device) -> None:
        """`prepared`: how the pictures that come were normalised. Raises MissingFile, WrongModel."""
        self.spec = model.spec
        self.network = _load_network(model).to(device).eval()
        heads = load_file(model.path / HEADS_FILE, device=str(device))
        self._heads = {
            head.name: (heads[f"{head.name}.weight"], heads[f"{head.name}.bias"]) for head in model.spec.heads
        }
        # pixel * std + mean of the one, normalised by the other, as one scale and shift by channel
        mine, theirs = model.spec.preprocess, prepared
        std, mean = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (mine.std, mine.mean))
        self._scale = torch.tensor(theirs.std, device=device).view(1, 3, 1, 1) / std
        self._shift = (torch.tensor(theirs.mean, device=device).view(1, 3, 1, 1) - mean) / std

    @property
    def nbytes(self) -> int:
        """Bytes of its weights and heads."""
        heads = [tensor for head in self._heads.values() for tensor in head]
        return sum(tensor.nbytes for tensor in (*self.network.state_dict().values(), *heads))

    @torch.no_grad()
    def __call__(self, photos: Tensor) -> Lesson:
        """float32 [n, 3, size, size] as the student takes them; resized to what the teacher is served."""
        size = self.spec.preprocess.size
        photos = photos * self._scale + self._shift
        if photos.shape[-1] != size:
            photos = F.interpolate(photos, size=(size, size), mode="bicubic", antialias=photos.shape[-1] > size)
        outputs = self.network(photos)
        logits = {name: F.linear(outputs.features, weight, bias) for name, (weight, bias) in self._heads.items()}
        return Lesson(outputs.embedding, logits)


class Distillation:
    """The terms that a recipe's [teacher] adds to the loss."""

    def __init__(
        self,
        recipe: Recipe,
        classes: Mapping[str, tuple[str, ...]],
        prepared: Preprocess,
        device: torch.device,
    ) -> None:
        """`classes` of the student's tasks. Raises WrongModel; BadRecipe as `open_teacher` and `shared_heads` do."""
        assert recipe.teacher is not None
        self._options = options = recipe.teacher
        self.teacher = TeachingModel(open_teacher(recipe), prepared, device)
        self._same_length = self.teacher.spec.dim == recipe.embedding.dim
        self._heads = shared_heads(recipe, classes, self.teacher.spec) if options.heads else ()
        self._tasks = {task.name: tuple(name for name, _ in task.heads) for task in recipe.task if task.on == "trunk"}

    @property
    def names(self) -> tuple[str, ...]:
        """What the terms are called in the record of a training."""
        embedding = ("teacher's embedding",) if self._options.embedding else ()
        return (*embedding, "teacher's heads") if self._heads else embedding

    @property
    def on_embedding(self) -> bool:
        """Whether a term is on the student's embedding."""
        return self._options.embedding > 0

    def __call__(
        self, photos: Tensor, outputs: Outputs, student: Network, readable: Tensor | None = None, ranks: Ranks = ALONE
    ) -> list[Tensor]:
        """This rank's part of the weighted terms in the order of `names`, for the pictures the student has just seen.

        `readable`: [n] bool, the pictures that are to be learnt from; None: all.
        """
        lesson = self.teacher(photos)
        if readable is not None:
            outputs = Outputs(outputs.features[readable], outputs.embedding[readable])
            lesson = Lesson(lesson.embedding[readable], {name: each[readable] for name, each in lesson.logits.items()})
        terms: list[Tensor] = []
        if self._options.embedding:
            distance = embedding_distance if self._same_length else similarity_distance
            terms.append(self._options.embedding * distance(outputs.embedding, lesson.embedding, ranks))
        if self._heads:
            layers = self._student_heads(student)
            temperature = self._options.temperature
            each = [
                head_divergence(F.linear(outputs.features, *layers[name]), lesson.logits[name], temperature, ranks)
                for name in self._heads
            ]
            terms.append(self._options.heads * torch.stack(each).sum())
        return terms

    def _student_heads(self, student: Network) -> dict[str, tuple[Tensor, Tensor]]:
        """Weight and bias, with gradients, by the head's name."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for task, names in self._tasks.items():
            loss = student.losses[task]
            assert isinstance(loss, TaskLoss)
            found |= dict(zip(names, loss.heads(), strict=True))
        return found


def open_teacher(recipe: Recipe) -> Model:
    """The model that the recipe's [teacher] names; BadRecipe, with the line, where it cannot teach what is asked."""
    assert recipe.teacher is not None
    with blaming(recipe, ("teacher", "model"), MissingFile, DamagedFile, UnsupportedFormat):
        model = Model.open(recipe.teacher.model)
        if recipe.teacher.embedding or recipe.teacher.heads:
            _require_network(model)
    return model


def shared_heads(recipe: Recipe, classes: Mapping[str, tuple[str, ...]], teacher: ModelSpec) -> tuple[str, ...]:
    """The heads of the student that its teacher has too, by name and classes; BadRecipe where there is none."""
    assert recipe.teacher is not None
    known = {head.name: head.classes for head in teacher.heads}
    own = [name for task in recipe.task if task.on == "trunk" for name, _ in task.heads]
    shared = tuple(name for name in own if known.get(name) == classes[name])
    if not shared:
        recipe.refuse(
            ("teacher", "heads"),
            f"the teacher {recipe.teacher.model} shares no head with this recipe's tasks on the trunk, by name and "
            f"classes (it has {', '.join(known) or 'none'}); write heads = 0 in [teacher], or name a task alike",
        )
    return shared


def _require_network(model: Model) -> None:
    for name in (RECIPE_FILE, WEIGHTS_FILE):
        if not (model.path / name).is_file():
            raise MissingFile(
                f"The teacher {model.path} lacks {name}; give a model directory as training wrote it, not an index's."
            )


def _load_network(model: Model) -> Network:
    _require_network(model)
    recipe = read_recipe(model.path / RECIPE_FILE)
    # without its tasks: what it classifies with comes from the served heads
    with naming_lines(recipe):
        network = Network(recipe.model_copy(update={"task": ()}), {})
    tensors = load_file(model.path / WEIGHTS_FILE)
    wanted = {name: tensor for name, tensor in tensors.items() if not name.startswith("losses.")}
    try:
        network.load_state_dict(wanted)
    except RuntimeError as error:
        raise WrongModel(f"The weights of {model.path} do not fit its own recipe ({error}); train it again.") from None
    return network.requires_grad_(False)
