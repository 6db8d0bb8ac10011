"""On which line of a TOML text a key stands: what the standard library's parser does not tell.

A scan of lines is enough for recipes, whose tables are one level deep and whose keys begin their line. It is used
only to point at a line in an error; what a recipe means is `tomllib`'s to say.
"""

import re

Path = tuple[int | str, ...]
"""("schedule", "epochs") or, in an array of tables, ("task", 1, "loss")."""

_HEADER = re.compile(r"\s*(?P<open>\[\[?)\s*(?P<name>[\w.\"' -]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*(?P<key>[\"']?[\w-]+[\"']?(\s*\.\s*[\"']?[\w-]+[\"']?)*)\s*=")


def line_of(text: str, path: Path) -> int:
    """The 1-based line of the longest beginning of `path` that the text has; 1 where it has none of it."""
    lines = _lines(text)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _lines(text: str) -> dict[Path, int]:
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            name = table = _parts(header["name"])
            if header["open"] == "[[":
                counts[name] = counts.get(name, -1) + 1
                table = (*name, counts[name])
            lines.setdefault(name, number)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            path = (*table, *_parts(key["key"]))
            for length in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:length], number)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    """`trunk.options` as ("trunk", "options"); our keys have no dots within quotes."""
    return tuple(part.strip("\"' \t") for part in dotted.split("."))
