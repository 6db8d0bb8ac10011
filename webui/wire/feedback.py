"""What somebody made of an answer."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.search.modes import MAX_K
from webui.wire.base import ProductId, Request, Text

FeedbackKind = Literal["click", "wrong", "not_found"]


class FeedbackRequest(Request):
    """A click on a product of an answer, a product that is wrong there, or an answer without the product that was
    looked for. The first two name their `product_id`."""

    kind: FeedbackKind
    request_id: Annotated[Text, Field(min_length=1, max_length=64, description="the answer's own")]
    product_id: Annotated[ProductId, Text, Field(max_length=200)] | None = None
    position: Annotated[int, Field(ge=1, le=MAX_K, description="the product's place in the answer")] | None = None

    @model_validator(mode="after")
    def _names_its_product(self) -> Self:
        if self.kind != "not_found" and self.product_id is None:
            raise ValueError(f"a {self.kind!r} needs the product_id that it is about")
        return self
