"""Text form of selectors.

    selector    = requirement ("," requirement)*
    requirement = "!" key | key [ "exists" | ("=" | "==" | "!=") value
                                | ("in" | "notin") "(" value ("," value)* ")"
                                | ("<" | "<=" | ">" | ">=") number ]

A value may be empty. Keys and values with blanks or commas must be in double quotes; there are no escapes.

Source: Kubernetes, `labels.Parse`; the comparisons `<=`, `>=` and units are additions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from onnxmesh.errors import InvalidRequest
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.selectors.quantity import read_quantity
from onnxmesh.routing.selectors.selector import Operator, Requirement, Selector

MAX_TEXT = 4096
"""Most characters of one selector."""

MAX_WORD = 256
"""Most characters of a key or a value."""

_SPACE = re.compile(r"\s*")
_KEY = re.compile(r'"[^"]*"|[^\s,()=<>!"](?:[^\s,()=<>!"]|!(?!=))*')
_VALUE = re.compile(r'"[^"]*"|[^\s,"]*')
_LISTED = re.compile(r'"[^"]*"|[^\s,()"]*')
_SYMBOL = re.compile(r"==|!=|<=|>=|=|<|>")
_NAME = re.compile(r"(?:notin|in|exists)(?![^\s,(])")
_NUMBERS = {
    "<": Operator.LESS,
    "<=": Operator.AT_MOST,
    ">": Operator.MORE,
    ">=": Operator.AT_LEAST,
}


@lru_cache(4096)
def parse_selector(text: str) -> Selector:
    """Parses a selector.

    Raises:
        InvalidRequest: It is malformed; the message has the position and what was expected there (INVALID_ARGUMENT).
    """
    if len(text) > MAX_TEXT:
        raise InvalidRequest(f"a selector has {MAX_TEXT} characters at most, got {len(text)}")
    return _Reader(text).selector()


def all_of(texts: Iterable[str]) -> Selector:
    """Parses several selectors into one that requires all of them.

    Raises:
        InvalidRequest: One is malformed (INVALID_ARGUMENT).
    """
    return Selector(tuple(each for text in texts for each in parse_selector(text).requirements))


def lacking(require: Iterable[str], tags: Collection[str], attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the requirements that a worker does not meet, as they were written, in order.

    Raises:
        InvalidRequest: A selector is malformed (INVALID_ARGUMENT).
    """
    return tuple(map(str, all_of(require).lacking(labels_of(tags, attributes))))


class _Reader:
    """Recursive-descent parser of one selector."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selector(self) -> Selector:
        requirements = [self._requirement()]
        while self._take(","):
            self._blanks()
            requirements.append(self._requirement())
        if self._at < len(self._text):
            raise self._error("',' or the end")
        if self._text[-1].isspace():
            self._at = len(self._text.rstrip())
            raise self._error("no white space at the end")
        return Selector(tuple(requirements))

    def _requirement(self) -> Requirement:
        begin = self._at
        if self._text.startswith("!", begin):
            self._at += 1
            self._blanks()
            return self._made(begin, self._key(), Operator.ABSENT)
        key = self._key()
        end = self._at
        self._blanks()
        if name := _NAME.match(self._text, self._at):
            self._at = name.end()
            if name[0] == "exists":
                return self._made(begin, key, Operator.EXISTS)
            operator = Operator.IN if name[0] == "in" else Operator.NOT_IN
            return self._made(begin, key, operator, self._list())
        if symbol := _SYMBOL.match(self._text, self._at):
            self._at = symbol.end()
            self._blanks()
            if (numbers := _NUMBERS.get(symbol[0])) is not None:
                return self._made(begin, key, numbers, number=self._number())
            operator = Operator.NOT_IN if symbol[0] == "!=" else Operator.IN
            return self._made(begin, key, operator, frozenset({self._word(_VALUE)}))
        if self._at < len(self._text) and self._text[self._at] != ",":
            raise self._error("an operator (=, ==, !=, in, notin, exists, <, <=, >, >=), ',' or the end")
        return self._made(begin, key, Operator.EXISTS, end=end)

    def _made(
        self,
        begin: int,
        key: str,
        operator: Operator,
        values: frozenset[str] = frozenset(),
        number: float = 0.0,
        end: int | None = None,
    ) -> Requirement:
        text = self._text[begin : self._at if end is None else end].rstrip()
        if end is None:
            self._blanks()
        return Requirement(key, operator, values, number, text)

    def _key(self) -> str:
        if not _KEY.match(self._text, self._at):
            raise self._error("a key")
        key = self._word(_KEY)
        if not key:
            raise self._error("a key", self._at - 2)
        return key

    def _list(self) -> frozenset[str]:
        self._blanks()
        if not self._take("("):
            raise self._error("'('")
        values = set()
        while True:
            self._blanks()
            values.add(self._word(_LISTED))
            self._blanks()
            if self._take(")"):
                return frozenset(values)
            if not self._take(","):
                raise self._error("',' or ')'")

    def _number(self) -> float:
        begin = self._at
        number = read_quantity(self._word(_VALUE))
        if number is None:
            raise self._error("a number such as 24, 7.5 or 80Gi", begin)
        return number

    def _word(self, pattern: re.Pattern[str]) -> str:
        begin = self._at
        found = pattern.match(self._text, begin)
        if found is None:
            raise self._error("a closing '\"'", len(self._text))
        self._at = found.end()
        word = found[0][1:-1] if found[0].startswith('"') else found[0]
        if not found[0] and self._text.startswith('"', begin):
            raise self._error("a closing '\"'", len(self._text))
        if len(word) > MAX_WORD:
            raise self._error(f"a word of {MAX_WORD} characters at most", begin)
        return word

    def _blanks(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _take(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._at):
            return False
        self._at += len(symbol)
        return True

    def _error(self, expected: str, at: int | None = None) -> InvalidRequest:
        at = self._at if at is None else at
        rest = self._text[at:]
        got = f"{rest[:20]!r}" if rest else "the end"
        return InvalidRequest(
            f"selector {self._text[:80]!r}, character {at + 1}: expected {expected}, got {got}"
        )
