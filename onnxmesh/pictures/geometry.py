"""Boxes and points, in pixels: x to the right, y downward."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """An axis-aligned rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height

    @property
    def centre(self) -> Point:
        """Its centre."""
        return self.x + self.width / 2, self.y + self.height / 2

    def inside(self, other: Rect, slack: float = 0.01) -> bool:
        """Whether it is within another."""
        return (
            self.x >= other.x - slack
            and self.y >= other.y - slack
            and self.right <= other.right + slack
            and self.bottom <= other.bottom + slack
        )

    def overlaps(self, other: Rect, slack: float = 0.01) -> bool:
        """Whether it shares more than an edge with another."""
        return (
            self.x < other.right - slack
            and other.x < self.right - slack
            and self.y < other.bottom - slack
            and other.y < self.bottom - slack
        )


def shared_widths(shares: list[float], total: float, least: float) -> list[float]:
    """Divides a width in proportion to `shares`, with a minimum for each part.

    Parts that would be narrower have width `least`, and the others divide the rest in proportion, repeated until no
    part is too narrow. If all shares are 0, the parts are equal.

    Args:
        shares: Shares, not negative.
        total: Width to divide; at least `least` for each part.
        least: Minimum width of each part.
    """
    if sum(shares) <= 0:
        return [total / len(shares)] * len(shares)
    narrow: set[int] = set()
    while True:
        rest = total - least * len(narrow)
        free = sum(share for index, share in enumerate(shares) if index not in narrow)
        widths = [
            least if index in narrow else rest * (share / free) if free else least
            for index, share in enumerate(shares)
        ]
        fresh = {index for index, width in enumerate(widths) if width < least - 1e-9} - narrow
        if not fresh:
            return widths
        narrow |= fresh
