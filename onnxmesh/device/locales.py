"""Locales of the C library, which ONNX Runtime's text operators need by name."""

from __future__ import annotations

import ctypes
import locale
import sys
from functools import cache

DEFAULT_LOCALE = "en_US.UTF-8"
"""The locale of ONNX Runtime's StringNormalizer where the model names none."""

_LABEL = "locale."
_EVERYWHERE = frozenset({"", "C", "POSIX"})  # the empty name is what the environment sets
_ALL_CATEGORIES = 1 << 6
"""LC_ALL as a mask: what the C++ library passes for a locale by name."""


def locale_label(name: str) -> str:
    """Returns the label of workers that have a locale: `locale.en_US.utf8` for every spelling of en_US.UTF-8.

    Empty for a locale that workers do not report, because every machine has it or because its encoding is not UTF-8.
    """
    language, _, codeset = name.partition(".")
    if "".join(filter(str.isalnum, codeset.lower())) != "utf8" or language not in _languages():
        return ""
    return f"{_LABEL}{language}.utf8"


def has_locale(name: str) -> bool:
    """Whether the C library of this process can load a locale; systems other than Linux are assumed to have it."""
    if name in _EVERYWHERE or sys.platform != "linux":
        return True
    library = ctypes.CDLL(None)
    library.newlocale.restype = ctypes.c_void_p
    found = library.newlocale(_ALL_CATEGORIES, name.encode(), None)
    if found:
        library.freelocale(ctypes.c_void_p(found))
    return bool(found)


@cache
def installed_labels() -> tuple[str, ...]:
    """Returns the labels of the locales of this machine."""
    names = [f"{language}.UTF-8" for language in sorted(_languages())]
    return tuple(locale_label(name) for name in names if has_locale(name))


@cache
def _languages() -> frozenset[str]:
    """Returns the known locales without encoding, such as `en_US`."""
    aliases = locale.locale_alias.values()
    return frozenset({"C", *(alias.partition(".")[0].partition("@")[0] for alias in aliases)})


def locale_cure(name: str) -> str:
    """Returns how a missing locale is installed, for messages."""
    language = name.partition(".")[0]
    return (
        f"install the locale '{name}', on Debian and Ubuntu with `apt-get install locales` and `localedef -i {language} "
        f"-f UTF-8 {name}`, on Fedora and Red Hat with `dnf install glibc-langpack-{language.partition('_')[0]}`, and "
        "start the worker again"
    )
