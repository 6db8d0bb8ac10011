"""The map from errors to statuses is complete."""

import pytest

from engine import errors
from engine.errors import LookalikeError
from webui.problems import of_error, of_status

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LookalikeError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_problem_with_its_own_code(kind: type[LookalikeError]) -> None:
    problem = of_error(kind("What, where; what to do."))

    assert problem.code == kind.code
    assert problem.status in (401, 403, 404, 422, 429, 500, 503)
    # the sentence is for callers only when they are the ones to act
    assert (problem.detail == "What, where; what to do.") == (problem.status < 500)


def test_a_subclass_nobody_listed_has_the_status_of_its_base() -> None:
    class Stranger(errors.BadFilter):
        code = "stranger"

    assert of_error(Stranger("No.")).status == 422


@pytest.mark.parametrize("status", [400, 404, 405, 408, 413, 414, 415, 418, 429, 431, 500, 501, 503])
def test_every_status_has_a_title_and_a_sentence(status: int) -> None:
    problem = of_status(status)

    assert problem.status == status
    assert problem.title
    assert problem.detail.endswith(".")
    assert not problem.detail.endswith("..")
