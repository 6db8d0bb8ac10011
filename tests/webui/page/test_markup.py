import pytest

from webui.page import markup


@pytest.mark.parametrize(("value", "text"), [(0.934, ".93"), (1.0, "1.00"), (-0.05, "-.05"), (0.996, "1.00")])
def test_a_similarity_has_two_digits_and_no_idle_zero(value: float, text: str) -> None:
    assert markup.score(value) == text


@pytest.mark.parametrize(("value", "text"), [(2011.0, "2011"), (39.9, "39.9"), (0.125, "0.125"), (-3.0, "-3")])
def test_a_number_reads_as_written_by_hand(value: float, text: str) -> None:
    assert markup.number(value) == text


def test_what_comes_from_the_catalogue_is_escaped() -> None:
    html = markup.render("notice.html", sentence="<script>alert(1)</script> & 'so'", filtered=False)
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#39;so&#39;" in html
