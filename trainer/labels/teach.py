"""A teacher's predictions -> labels for a student: the best classes of each photo, the best photos of each class.

Yalniz et al., "Billion-scale semi-supervised learning for image classification", arXiv:1905.00546, section 3: each
photo is a candidate for its P likeliest classes; each class keeps the K candidates that the teacher is surest of. So
classes come out balanced, and a photo may be an example of several, or of none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """For each of n photos its P likeliest classes, the likeliest first. `classes` int64 [n, P], -1 where the photo
    could not be read; `probabilities` float32 [n, P]."""

    classes: Ints
    probabilities: Floats


def likeliest(probabilities: Floats, classes_per_photo: int) -> tuple[Ints, Floats]:
    """[n, classes] -> the numbers and probabilities [n, P] of each photo's likeliest classes; equals in their order."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :classes_per_photo]
    return order, np.take_along_axis(probabilities, order, axis=1)


def choose(candidates: Candidates, photos_per_class: int) -> list[tuple[int, ...]]:
    """The classes that each photo is an example of, the likeliest first; each class has at most so many photos.

    Of photos with the same probability the earlier ones are kept.
    """
    photos, ranks = np.nonzero(candidates.classes >= 0)
    classes = candidates.classes[photos, ranks]
    # by class, within a class by falling probability; photos rise already, and lexsort is stable
    order = np.lexsort((-candidates.probabilities[photos, ranks], classes))
    starts = np.searchsorted(classes[order], classes[order], side="left")
    kept = np.sort(order[np.arange(len(order)) - starts < photos_per_class])
    chosen: list[list[int]] = [[] for _ in candidates.classes]
    for place in kept.tolist():
        chosen[photos[place]].append(int(classes[place]))
    return [tuple(each) for each in chosen]
