"""The map from errors to statuses is complete."""

import pytest
from pydantic import ValidationError

from engine import errors
from engine.errors import LookalikeError
from webui import wire
from webui.hints import HINTS
from webui.problems import headers_of, of_error, of_fields, of_status

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LookalikeError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_problem_with_its_own_code(kind: type[LookalikeError]) -> None:
    problem = of_error(kind("What, where; what to do."))

    assert problem.code == kind.code
    assert problem.status in (401, 403, 404, 422, 429, 500, 503)
    assert problem.hint.endswith(".")
    assert problem.type.startswith("/docs#")
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


def test_every_problem_below_500_and_of_503_is_described_under_its_code() -> None:
    for kind in KINDS:
        problem = of_error(kind("What."))
        if problem.status != 500 and kind not in (errors.BadRecipe,):  # which no request can have
            assert problem.type == f"/docs#{kind.code}"
    for status in (400, 404, 405, 408, 413, 415, 431, 500, 503):
        assert of_status(status).type == f"/docs#{of_status(status).code}"


def test_a_subclass_without_a_description_is_described_as_its_base() -> None:
    class Stranger(errors.BadFilter):
        code = "stranger"

    problem = of_error(Stranger("No."))
    assert (problem.type, problem.hint) == ("/docs#bad_filter", HINTS["bad_filter"].remedy)


def test_what_passes_by_itself_says_when_to_come_back() -> None:
    class Patient(errors.Busy):
        retry_after_s = 2.25

    assert headers_of(errors.Busy("No.")) == {"Retry-After": "1"}
    assert headers_of(Patient("No.")) == {"Retry-After": "3"}
    assert headers_of(errors.TooManyRequests("No.")) == {"Retry-After": "1"}
    assert headers_of(errors.DamagedFile("No.")) == {}
    assert headers_of(ValueError()) == {}


def test_who_has_no_key_is_told_how_to_send_one() -> None:
    assert headers_of(errors.Unauthorized("No.")) == {"WWW-Authenticate": 'Bearer realm="lookalike"'}


def test_what_was_sent_does_not_come_back_whole() -> None:
    assert len(of_error(errors.BadFilter("x" * 10**6)).detail) < 1100


def test_a_long_name_of_a_field_costs_nothing() -> None:
    with pytest.raises(ValidationError) as caught:
        wire.SearchRequest.model_validate({"k" * 10**7: 1})

    assert len(str(of_fields(caught.value, wire.SearchRequest))) < 1000
