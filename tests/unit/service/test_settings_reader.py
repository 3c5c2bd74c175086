"""Settings from flags and environment variables."""

from __future__ import annotations

import sys

import pytest
from pydantic import Field, Secret, field_validator, model_validator

from onnxmesh.service.settings.service import ServiceSettings
from onnxmesh.service.settings_reader import load_settings, setting_name


class Settings(ServiceSettings):
    pin: Secret[int] = Secret(0)
    rows: int = Field(1, ge=1)
    other: str | None = Field(None, description="another one; default: none")
    both: bool = True

    @field_validator("other")
    @classmethod
    def _no_blue(cls, value):
        if value == "blue":
            raise ValueError("expected no blue, got 'blue'")
        return value

    @model_validator(mode="after")
    def _rows_or_other(self):
        if self.rows > 9 and self.other:
            raise ValueError("--rows and --other exclude each other")
        return self


def read(monkeypatch, *arguments, **environment):
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings("worker", Settings)


def refused(monkeypatch, capsys, *arguments, **environment):
    with pytest.raises(SystemExit) as caught:
        read(monkeypatch, *arguments, **environment)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


def test_flags_come_before_the_environment(monkeypatch):
    """Both set the same settings."""
    settings = read(monkeypatch, "--rows=3", ONNXMESH_ROWS="5", ONNXMESH_OTHER="red")
    assert (settings.rows, settings.other) == (3, "red")


def test_settings_reader_reports_each_wrong_setting_on_a_line_with_its_names(monkeypatch, capsys):
    """Flag and environment variable, what was expected and what came, without words of the library."""
    shown = refused(
        monkeypatch, capsys, "--rows=0", "--listen=here", ONNXMESH_BOTH="maybe", ONNXMESH_OTHER="blue"
    )
    assert shown.splitlines() == [
        "worker: --listen (ONNXMESH_LISTEN): expected HOST:PORT, got 'here': the port is missing, as in here:8001",
        "worker: --rows (ONNXMESH_ROWS): expected a number of at least 1, got '0'",
        "worker: --other (ONNXMESH_OTHER): expected no blue, got 'blue'",
        "worker: --both (ONNXMESH_BOTH): expected yes or no, got 'maybe'",
    ]


def test_settings_reader_shows_no_secret(monkeypatch, capsys):
    """Only what was expected."""
    shown = refused(monkeypatch, capsys, ONNXMESH_PIN="hunter2")
    assert shown == "worker: --pin (ONNXMESH_PIN): expected a whole number\n"


def test_settings_reader_passes_on_an_error_that_names_several_settings(monkeypatch, capsys):
    """A validator of the whole model wrote it."""
    shown = refused(monkeypatch, capsys, "--rows=10", "--other=red")
    assert shown == "worker: --rows and --other exclude each other\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--zzz"], "unknown flag --zzz"),
        (["--metrix", "3"], "unknown flag --metrix; did you mean '--metrics'?"),
        (["extra"], "a flag --NAME is expected, got 'extra'"),
        (["--listen"], "--listen: expected a value"),
        (["--both=no"], "--both or --no-both: expected no value, got 'no'"),
    ],
)
def test_wrong_flags_are_one_line(monkeypatch, capsys, arguments, line):
    """With the flag that was probably meant, and how to list all of them."""
    shown = refused(monkeypatch, capsys, *arguments)
    assert shown == f"worker: {line}; python -m services.worker --help lists the settings\n"


def test_help_names_the_program_and_omits_empty_defaults(monkeypatch, capsys):
    """A default of none is in the description."""
    with pytest.raises(SystemExit) as caught:
        read(monkeypatch, "--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m services.worker ")
    assert "(default: 1)" in shown
    assert "null" not in shown
    assert "(default: )" not in shown


def test_setting_name_has_flag_and_variable():
    """As messages name a setting."""
    assert setting_name(Settings, "drain_s") == "--drain-s (ONNXMESH_DRAIN_S)"
