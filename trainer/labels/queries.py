"""What people type -> queries that compare: one spelling for what means the same.

Text as people enter it differs in case, accents' encoding, punctuation and blanks, never in what is looked for.
"""

import unicodedata
from collections.abc import Iterator

_APOSTROPHES = str.maketrans("", "", "'`\u2019\u02bc")  # or women's would be two words
_WORD = {"L", "M", "N"}  # letters, marks on them (Indic vowels, say) and numbers make words; all else parts them


def normalise(text: str) -> str:
    """Words in lower case with one blank between, in Unicode's compatibility form; "" where there are none.

    What is normalised stays as it is when normalised again.
    """
    before, text = "", text.translate(_APOSTROPHES)
    while text != before:  # folding case can undo the compatibility form for some letters, and the other way round
        before, text = text, unicodedata.normalize("NFKC", text.casefold()).translate(_APOSTROPHES)
    return " ".join("".join(mark if unicodedata.category(mark)[0] in _WORD else " " for mark in text).split())


def phrases(query: str, longest: int) -> Iterator[str]:
    """Every run of 1 to `longest` words of a normalised query; with `longest` 0 the query itself.

    Titles can stand in for a log of queries this way: of "red cotton shirt" people look for "red", "cotton shirt" …
    """
    words = query.split()
    if not longest:
        if words:
            yield query
        return
    for length in range(1, min(longest, len(words)) + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])
