"""Several searches in one request."""

from typing import Annotated

from pydantic import Field

from webui.wire.base import Answer, Request
from webui.wire.problem import Problem
from webui.wire.search import SearchAnswer, SearchRequest

MAX_SEARCHES = 32  # in one request; its photos together fit into a request's bytes


class BatchRequest(Request):
    """Searches that do not depend on one another."""

    searches: Annotated[list[SearchRequest], Field(min_length=1, max_length=MAX_SEARCHES)]


class BatchItem(Answer):
    """What became of one search: its answer, or its problem; the other is null."""

    answer: SearchAnswer | None
    problem: Problem | None


class BatchAnswer(Answer):
    """What became of each search, in their order."""

    answers: list[BatchItem]
