"""The losses a recipe can name. A new one is a file in this folder, a line here and a name in `trainer.recipe.Task`."""

from trainer.losses.arcface import ArcFace
from trainer.losses.grouped_softmax import GroupedSoftmax
from trainer.losses.multilabel_arcface import MultilabelArcFace
from trainer.losses.multilabel_softmax import MultilabelSoftmax
from trainer.losses.norm_softmax import NormSoftmax
from trainer.losses.pairwise import Pairwise
from trainer.losses.softmax import Softmax
from trainer.losses.task_loss import TaskLoss
from trainer.recipe import Task

OF_CLASSES: dict[str, type[Softmax | NormSoftmax | MultilabelSoftmax | ArcFace | MultilabelArcFace]] = {
    "softmax": Softmax,
    "norm_softmax": NormSoftmax,
    "multilabel_softmax": MultilabelSoftmax,
    "arcface": ArcFace,
    "multilabel_arcface": MultilabelArcFace,
}


def make_loss(task: Task, dim: int, *classes: int) -> TaskLoss:
    """The task's loss on [n, dim] inputs; `classes`: how many there are, in each group of a grouped softmax."""
    if task.loss == "grouped_softmax":
        return GroupedSoftmax(task, dim, classes)
    (count,) = classes
    if task.loss == "pairwise":
        return Pairwise(task)
    if task.loss == "softmax" and task.on == "embedding":
        return NormSoftmax(task, dim, count)
    return OF_CLASSES[task.loss](task, dim, count)


def takes_many_labels(task: Task) -> bool:
    """Whether a photo may have several classes of this task."""
    return task.loss in OF_CLASSES and OF_CLASSES[task.loss].multilabel
