"""HTML from templates, with everything that comes from the catalogue escaped, and how numbers read on the page."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined


def score(value: float) -> str:
    """A cosine to two digits without the idle zero: .93, 1.00, -.05."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def number(value: float) -> str:
    """A number as written by hand: 2011, 39.9, never 2011.0; not grouped, since it may be a year."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.6g}"


def count(value: int) -> str:
    """How many: 9,583."""
    return f"{value:,}"


def percent(value: float) -> str:
    """A share of one: 97 %."""
    return f"{100 * value:.0f} %"


def words(name: str) -> str:
    """A column's name as people write it: "article type" of article_type."""
    return name.replace("_", " ")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("webui.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(score=score, count=count, percent=percent, words=words)
    return environment


def render(template: str, **values: object) -> str:
    """The HTML of `templates/<template>`; a name that the template needs and `values` lacks is an error."""
    return _templates().get_template(template).render(**values)


def asset(name: str) -> str:
    """The text of a file of this package that goes to the browser as it is."""
    return files("webui.page").joinpath(name).read_text(encoding="utf-8")
