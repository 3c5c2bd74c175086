"""Names of models: the rule that clients and schedulers share. Pure."""

from __future__ import annotations

import re
import unicodedata

NAME_RULE = "a model's name has up to 128 letters, digits and '._-', a letter or digit first"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FALLBACK = "model"


def is_model_name(text: str) -> bool:
    """Whether `text` may be the name of a model."""
    return _NAME.fullmatch(text) is not None


def nearest_model_name(text: str) -> str:
    """Returns a name that resembles `text`: other characters become dashes, and accents are removed."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-._")[:128]
    return name or _FALLBACK
