"""Texts of errors within bounds: shortened names, lists that end with a count, suggestions. Pure.

A text travels twice in the trailers of a call, once percent-encoded: clients of gRPC lose the status of a call whose trailers
exceed 8 KiB, so `MAX_TEXT_BYTES` keeps them below 5 KiB whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from heapq import nlargest
from itertools import islice
from operator import eq

MAX_TEXT_BYTES = 1024
"""The longest text of an error, in UTF-8."""

MAX_NAME_CHARS = 200
"""The longest name that a text quotes in full."""

MAX_LIST_CHARS = 400
"""A list ends after the entry that reaches this length."""

_MAX_READ_CHARS = 4096  # of a longer text only both ends are read: a client may send a name of any length
_MAX_CANDIDATES = 1000
_MAX_COMPARED = 8  # a comparison takes up to a millisecond, and a client may send unknown names repeatedly
_MAX_SUGGESTED_CHARS = 100
_ELLIPSIS = "…"
_QUOTED = re.compile(rf"(?<![^\s(\[{{=,:;])(['\"])((?:(?!\1)[\s\S]){{{MAX_NAME_CHARS + 1},}})\1(?!\w)")


def bounded(text: str) -> str:
    """Returns the text of an error: long quoted names, and then the whole, shortened in the middle."""
    if len(text) > _MAX_READ_CHARS:
        half = _MAX_READ_CHARS // 2
        text = f"{text[:half]}{_ELLIPSIS}{text[-half:]}"
    if len(text) > MAX_NAME_CHARS:
        text = _QUOTED.sub(lambda match: f"{match[1]}{_shortened(match[2])}{match[1]}", text)
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_TEXT_BYTES:
        return data.decode()
    ellipsis = f" {_ELLIPSIS} ".encode()
    begin = (MAX_TEXT_BYTES - len(ellipsis)) * 2 // 3
    end = MAX_TEXT_BYTES - len(ellipsis) - begin
    return data[:begin].decode("utf-8", "ignore") + ellipsis.decode() + data[-end:].decode("utf-8", "ignore")


def listed(names: Iterable[object], *, quoted: bool = True, separator: str = ", ", none: str = "none") -> str:
    """Returns names as a list: `'a', 'b'`, and a long one as `'a', 'b' … and 62 more`.

    Args:
        names: In the order of the text.
        quoted: Whether each name is quoted.
        separator: Between two names.
        none: The text of an empty list.
    """
    entries: list[str] = []
    rest, num_chars = 0, 0
    for name in names:
        if num_chars > MAX_LIST_CHARS:
            rest += 1
            continue
        entry = f"'{_shortened(str(name))}'" if quoted else str(name)
        num_chars += len(entry) + len(separator)
        entries.append(entry)
    text = separator.join(entries) or none
    return f"{text} {_ELLIPSIS} and {rest:,} more" if rest else text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` with the most similar known word; empty if none is similar, or the word is known."""
    alike = most_similar(word, known)
    return f"; did you mean '{alike}'?" if alike not in {"", word} else ""


def most_similar(word: str, known: Iterable[str]) -> str:
    """Returns the most similar known word, whatever its case; empty if none is similar, or the word is too long."""
    if not 0 < len(word) <= _MAX_SUGGESTED_CHARS:
        return ""
    return _most_similar(word, tuple(islice(known, _MAX_CANDIDATES)))


@lru_cache(64)  # a client that sends an unknown name sends it again
def _most_similar(word: str, known: tuple[str, ...]) -> str:
    lower = word.lower()
    candidates = {each.lower(): each for each in known if len(each) <= _MAX_SUGGESTED_CHARS}

    def alignment(each: str) -> int:
        """Letters that are the same, counted from both ends: a typing error shifts only one side."""
        same = sum(map(eq, each, lower)) + sum(map(eq, reversed(each), reversed(lower)))
        return int(same) - len(each)

    nearest = nlargest(_MAX_COMPARED, candidates, key=alignment)
    alike = get_close_matches(lower, nearest, n=1, cutoff=0.6)
    return candidates[alike[0]] if alike else ""


def _shortened(name: str) -> str:
    """Returns a name of `MAX_NAME_CHARS` at most: its beginning and its end, which often distinguish names."""
    if len(name) <= MAX_NAME_CHARS:
        return name
    half = (MAX_NAME_CHARS - len(_ELLIPSIS)) // 2
    return f"{name[:half]}{_ELLIPSIS}{name[-half:]}"
