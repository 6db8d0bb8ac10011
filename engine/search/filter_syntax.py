r"""The filters people type.

======================  ==============================================================
``colour=Red``          equal (of several keywords: contains)
``colour=Red|Blue``     one of
``price<50``            also ``<=``, ``>``, ``>=``
``price=10..50``        a range, both ends in; ``10..`` and ``..50`` are open
``name=Sun*``           begins with
``sale?``               has a value
``!colour=Red``         not, before any of these
======================  ==============================================================

A backslash takes the meaning from the character after it: ``title=a\|b``, ``ratio=1\..2``, ``mark=\*``. Several filters
are and-ed. Values stay raw text until `engine.search.filters.bind` knows the facets.
"""

import re
from collections.abc import Iterable

from engine.errors import BadFilter
from engine.search.filters import And, Equal, Exists, Filter, Leaf, Not, OneOf, Or, Prefix, Range

# Runs of ordinary or escaped characters (lazily), then what ends a name. "<=" before "<": the longer sign first.
_COMPARISON = re.compile(r"(?P<name>(?:\\.|[^\\])+?)(?P<sign><=|>=|<|>|=)(?P<value>.*)", re.DOTALL)
_PRESENCE = re.compile(r"(?P<name>(?:\\.|[^\\])+)\?", re.DOTALL)
_TOKEN = re.compile(r"\\(?P<escaped>.)|(?P<bar>\|)|(?P<dots>\.\.)|(?P<star>\*$|\*(?=\|))|(?P<plain>.)", re.DOTALL)
_HELP = "write colour=Red, colour=Red|Blue, price<50, price=10..50, name=Sun*, sale? or !colour=Red"


def parse(texts: Iterable[str]) -> Filter | None:
    """The and of all `texts`, or None when there are none; BadFilter names the text that cannot be read."""
    parts = tuple(_parse_one(text) for text in texts)
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else And(parts)


def _parse_one(text: str) -> Filter:
    stripped = text.strip()
    body = stripped.lstrip("!")
    filter = _parse_positive(text, body.strip())
    return Not(filter) if (len(stripped) - len(body)) % 2 else filter


def _parse_positive(text: str, body: str) -> Filter:
    if comparison := _COMPARISON.fullmatch(body):
        name = _name(text, comparison["name"])
        if comparison["sign"] == "=":
            return _alternatives(text, name, comparison["value"])
        return _one_sided(text, name, comparison["sign"], comparison["value"])
    if presence := _PRESENCE.fullmatch(body):
        return Exists(_name(text, presence["name"]))
    raise BadFilter(f"The filter {text!r} cannot be read; {_HELP}.")


def _name(text: str, raw: str) -> str:
    name = re.sub(r"\\(.)", r"\1", raw).strip()
    if not name:
        raise BadFilter(f"The filter {text!r} names no facet; {_HELP}.")
    return name


def _one_sided(text: str, name: str, sign: str, raw: str) -> Range:
    value = re.sub(r"\\(.)", r"\1", raw).strip()
    if not value:
        raise BadFilter(f"The filter {text!r} has nothing after {sign}; {_HELP}.")
    if sign.startswith("<"):
        return Range(name, high=value, high_in=sign == "<=")
    return Range(name, low=value, low_in=sign == ">=")


def _alternatives(text: str, name: str, raw: str) -> Filter:
    choices = [_choice(text, name, tokens) for tokens in _split(raw)]
    plain = [choice.value for choice in choices if isinstance(choice, Equal)]
    if len(choices) == 1:
        return choices[0]
    return OneOf(name, tuple(plain)) if len(plain) == len(choices) else Or(tuple(choices))


_Token = tuple[str, str]  # (kind, text): kind is escaped, dots, star or plain


def _split(raw: str) -> list[list[_Token]]:
    """The tokens of every alternative between unescaped bars."""
    alternatives: list[list[_Token]] = [[]]
    for token in _TOKEN.finditer(raw):
        kind = token.lastgroup
        assert kind is not None
        if kind == "bar":
            alternatives.append([])
        else:
            alternatives[-1].append((kind, token[kind]))
    return alternatives


def _choice(text: str, name: str, tokens: list[_Token]) -> Leaf:
    dots = [place for place, (kind, _) in enumerate(tokens) if kind == "dots"]
    if len(dots) > 1:
        raise BadFilter(f"The filter {text!r} has more than one ..; write a range as price=10..50.")
    if dots:
        low, high = _joined(tokens[: dots[0]]), _joined(tokens[dots[0] + 1 :])
        return Range(name, low=low or None, high=high or None)
    if tokens and tokens[-1][0] == "star":
        return Prefix(name, _joined(tokens[:-1]))
    value = _joined(tokens)
    if not value:
        raise BadFilter(f"The filter {text!r} has an empty value; for products without one write !{name}?.")
    return Equal(name, value)


def _joined(tokens: list[_Token]) -> str:
    return "".join(text for _, text in tokens).strip()
