"""How what is found wrong far from a recipe's text becomes a sentence with the line that it is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.errors import BadRecipe, LookalikeError
from trainer.toml_lines import Path as KeyPath

if TYPE_CHECKING:
    from trainer.recipe import Recipe


class Fault(BadRecipe):
    """A recipe's fault, found where only a part of it is known: `naming_lines` says on which line `key` stands."""

    def __init__(self, sentence: str, key: KeyPath = ()) -> None:
        super().__init__(sentence)
        self.key = key


@contextmanager
def naming_lines(recipe: "Recipe") -> Iterator[None]:
    """A fault in the `with` is told as one of `recipe`, with its line."""
    try:
        yield
    except Fault as fault:
        recipe.refuse(fault.key, str(fault))


@contextmanager
def blaming(recipe: "Recipe", key: KeyPath, *kinds: type[LookalikeError]) -> Iterator[None]:
    """Errors of these `kinds` in the `with` are told as the fault of the recipe's line of `key`."""
    try:
        yield
    except kinds as error:
        recipe.refuse(key, str(error))
