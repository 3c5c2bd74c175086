"""Labels of a picture: estimated widths of text, shortening and wrapping."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from onnxmesh.pictures.geometry import Rect

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_ELLIPSIS = "…"
_BOLD = 1.12
_ASCENT, _DESCENT = 0.8, 0.22

# Widths in DejaVu Sans, the widest common substitute for "sans-serif": text that fits in it fits in others.
_NARROW = frozenset("iljI|!'.,:;` ()[]ft/\\r-\u00a0·")
_WIDE = frozenset("mwMW%@—…=+~<>#&")
_NARROW_EM, _TYPICAL_EM, _UPPER_EM, _WIDE_EM, _FULL_EM = 0.42, 0.64, 0.79, 1.0, 1.05


@dataclass(frozen=True, slots=True)
class Label:
    """One line of text.

    Attributes:
        text: The text; only characters that XML allows.
        x: Horizontal position of its start, middle or end, by `anchor`.
        y: Position of its base line.
        size: Font size in pixels.
        anchor: `start`, `middle` or `end`.
        bold: Whether it is bold.
        colour: Colour of the text.
    """

    text: str
    x: float
    y: float
    size: float = 12.0
    anchor: str = "start"
    bold: bool = False
    colour: str = "#24292f"

    @property
    def bounds(self) -> Rect:
        """Its bounding box, an upper bound."""
        width = text_width(self.text, self.size, bold=self.bold)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Rect(left, self.y - _ASCENT * self.size, width, (_ASCENT + _DESCENT) * self.size)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Returns an upper bound of the width of a text in common fonts, in pixels."""
    return sum(map(_em, text)) * size * (_BOLD if bold else 1.0)


def shortened(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Returns the text, with its middle replaced by an ellipsis where it is too wide; empty if even that is too wide."""
    text = printable(text)
    if text_width(text, size, bold=bold) <= width:
        return text
    # Names differ at their ends as often as at their starts.
    for kept in range(len(text) - 1, 0, -1):
        head, tail = (kept + 1) // 2, kept // 2
        short = text[:head].rstrip() + _ELLIPSIS + (text[len(text) - tail :].lstrip() if tail else "")
        if text_width(short, size, bold=bold) <= width:
            return short
    return ""


def first_fitting(texts: tuple[str, ...], width: float, size: float, *, bold: bool = False) -> str:
    """Returns the first text that fits, or the last one shortened."""
    for text in texts:
        if text_width(printable(text), size, bold=bold) <= width:
            return printable(text)
    return shortened(texts[-1], width, size, bold=bold)


def largest_fitting(text: str, width: float, sizes: tuple[float, ...], *, bold: bool = False) -> float:
    """Returns the first of the sizes, largest first, at which the text fits, or the last one."""
    return next((size for size in sizes if text_width(text, size, bold=bold) <= width), sizes[-1])


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Returns the text as lines of words, none wider than `width`; long words are shortened.

    A no-break space stays within its line.
    """
    lines: list[str] = []
    for word in printable(text).split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(shortened(word, width, size))
    return lines


def printable(text: str) -> str:
    """Returns the text with characters replaced that XML forbids or that break a line."""
    return "".join("\ufffd" if _unprintable(character) else character for character in text)


def _unprintable(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Cn", "Co", "Zl", "Zp"}
        or character in "\u202a\u202b\u202d\u202e"
    )


def _em(character: str) -> float:
    if character in _NARROW:
        return _NARROW_EM
    if character in _WIDE:
        return _WIDE_EM
    if character.isascii():
        return _UPPER_EM if character.isupper() else _TYPICAL_EM
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in {"W", "F"}:
        return _FULL_EM
    return 0.85
