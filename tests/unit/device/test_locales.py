"""Locales of the C library."""

from __future__ import annotations

import pytest

from onnxmesh.device.locales import has_locale, installed_labels, locale_cure, locale_label
from tests.locale_folder import install_locale


@pytest.mark.parametrize("name", ["en_US.UTF-8", "en_US.utf8", "en_US.utf-8"])
def test_locale_label_is_one_for_every_spelling(name):
    """The C library takes each of them for the same locale."""
    assert locale_label(name) == "locale.en_US.utf8"


@pytest.mark.parametrize("name", ["", "C", "POSIX", "en_US", "de_DE.ISO-8859-1", "zz_ZZ.UTF-8"])
def test_locale_label_is_empty_for_what_workers_do_not_report(name):
    """So that no worker is excluded for it."""
    assert locale_label(name) == ""


def test_has_locale_asks_the_c_library(tmp_path, monkeypatch):
    """A locale of a folder that the environment names counts."""
    assert has_locale("C")
    assert has_locale("")
    assert not has_locale("zz_ZZ.UTF-8")
    install_locale(tmp_path, monkeypatch)
    assert has_locale("en_US.UTF-8")
    installed_labels.cache_clear()
    assert "locale.en_US.utf8" in installed_labels()
    installed_labels.cache_clear()


def test_locale_cure_has_the_commands():
    """For the locale in question."""
    assert "`localedef -i de_DE -f UTF-8 de_DE.UTF-8`" in locale_cure("de_DE.UTF-8")
