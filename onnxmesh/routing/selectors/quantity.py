"""Quantities with unit suffixes, as Kubernetes writes them: 24, 7.5, 80Gi."""

from __future__ import annotations

import math
import re

_FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(|k|M|G|T|Ki|Mi|Gi|Ti)", re.ASCII)


def read_quantity(text: str) -> float | None:
    """Returns the value of a quantity, None if `text` is not one or its value is not finite.

    Source: Kubernetes, "Quantity": the suffixes k, M, G, T and Ki, Mi, Gi, Ti.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number = float(match[1]) * _FACTORS[match[2]]
    return number if math.isfinite(number) else None
