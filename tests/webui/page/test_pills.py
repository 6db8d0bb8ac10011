from engine.catalogue.schema import FacetType
from webui.page.choices import Choices, Span
from webui.page.overview import Overview
from webui.page.pills import OPEN_VALUES, Pill, RangePill, arrange
from webui.wire import FacetChoice, FacetSummary

OVERVIEW = Overview(
    generation="000001",
    products=100,
    types={
        "colour": FacetType.KEYWORD,
        "barcode": FacetType.KEYWORD,
        "price": FacetType.NUMBER,
        "sale": FacetType.BOOLEAN,
    },
    offered=("colour", "price", "sale"),
    examples=(),
)


def worded(name: str, counts: dict[str, int], distinct: int | None = None) -> FacetSummary:
    return FacetSummary(
        name=name,
        type=OVERVIEW.types[name],
        values=[FacetChoice(value=value, count=count) for value, count in counts.items()],
        distinct=distinct or len(counts),
        minimum=None,
        maximum=None,
        missing=0,
    )


COLOUR = worded("colour", {"Red": 30, "Blue": 20, "Sand": 10})
BARCODE = worded("barcode", {"4001": 1, "4002": 1})
PRICE = FacetSummary(name="price", type=FacetType.NUMBER, values=[], distinct=80, minimum=5.0, maximum=99.9, missing=0)
SALE = FacetSummary(
    name="sale",
    type=FacetType.BOOLEAN,
    values=[FacetChoice(value=False, count=60), FacetChoice(value=True, count=40)],
    distinct=2,
    minimum=None,
    maximum=None,
    missing=0,
)
ALL = [COLOUR, BARCODE, PRICE, SALE]


def shown(*pills: Pill | RangePill) -> list[tuple[str, bool]]:
    return [(pill.label, pill.chosen) if isinstance(pill, Pill) else (pill.span.label(), True) for pill in pills]


def test_the_short_row_has_what_is_suggested_and_what_was_picked() -> None:
    choices = Choices().toggle("colour", "Sand").with_span("price", Span("10", "50"))
    pills = arrange(ALL, choices, OVERVIEW, {"colour": ["Blue"], "sale": ["true"]})
    assert shown(*pills.front) == [
        ("Blue", False),
        ("Sand", True),
        ("10 \N{EN DASH} 50", True),
        ("sale: yes", False),
    ]


def test_a_suggestion_that_no_product_has_any_more_is_left_out() -> None:
    assert shown(*arrange(ALL, Choices(), OVERVIEW, {"colour": ["Green", "Red"]}).front) == [("Red", False)]


def test_a_picked_value_stays_when_nothing_has_it_any_more() -> None:
    pills = arrange(ALL, Choices().toggle("colour", "Green"), OVERVIEW, {})
    assert pills.front == (Pill("colour", "Green", "Green", None, True),)


def test_facets_that_filter_nothing_worth_filtering_have_no_pills_until_they_are_picked() -> None:
    def names(choices: Choices) -> list[str]:
        return [group.name for group in arrange(ALL, choices, OVERVIEW, {}).groups]

    assert names(Choices()) == ["colour", "price", "sale"]
    assert names(Choices().toggle("barcode", "4001")) == ["colour", "barcode", "price", "sale"]


def test_long_facets_fold_and_say_how_many_values_are_not_listed() -> None:
    facet = worded("colour", {f"colour {number}": 50 - number for number in range(50)}, distinct=70)
    (group,) = arrange([facet], Choices(), OVERVIEW, {}).groups
    assert (len(group.pills), len(group.rest), group.unlisted) == (OPEN_VALUES, 50 - OPEN_VALUES, 20)


def test_a_number_shows_its_ends() -> None:
    (group,) = arrange([PRICE], Choices(), OVERVIEW, {}).groups
    assert (group.lowest, group.highest, group.ranged) == ("5", "99.9", True)
