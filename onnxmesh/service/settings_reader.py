"""Settings of a service from flags and environment variables, and errors in them in words."""

from __future__ import annotations

import argparse
import re
import sys
from typing import NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import CliApp, CliSettingsSource, SettingsError

from onnxmesh.error_text import did_you_mean
from onnxmesh.expected_values import expected_value
from onnxmesh.service.settings.service import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

_WRONG_SETTING = 2
"""Exit status."""
_CLI_ERROR = "error parsing CLI: "
_FLAG = re.compile(r"--[a-z0-9-]+")
_NO_DEFAULT = re.compile(r"\s*\(default(?:: (?:null|)| factory: [^)]*)\)$")


def load_settings(role: str, settings_type: type[S]) -> S:
    """Returns the settings of this process.

    What is wrong ends the process with exit status 2 and a line for each error on standard error: the setting's flag and
    environment variable, what was expected and what came, which is omitted for a secret.

    Args:
        role: `gateway`, `scheduler` or `worker`.
        settings_type: The settings to read.
    """
    program = f"python -m services.{role}"
    try:
        source = CliSettingsSource[S](
            settings_type, cli_prog_name=program, cli_exit_on_error=False, formatter_class=_HelpFormatter
        )
        return CliApp.run(settings_type, cli_settings_source=source, cli_exit_on_error=False)
    except ValidationError as error:
        _end(role, [_wrong_setting(settings_type, problem) for problem in error.errors()])
    except SettingsError as error:
        _end(role, [f"{_wrong_flag(settings_type, str(error))}; {program} --help lists the settings"])


def setting_name(settings_type: type[ServiceSettings], field: str) -> str:
    """Returns flag and environment variable of a setting: `--drain-s (ONNXMESH_DRAIN_S)`."""
    prefix = settings_type.model_config["env_prefix"]
    return f"{_flag(field)} ({prefix}{field.upper()})"


def _end(role: str, lines: list[str]) -> NoReturn:
    sys.stderr.write("".join(f"{role}: {line}\n" for line in lines))
    raise SystemExit(_WRONG_SETTING) from None


def _wrong_setting(settings_type: type[ServiceSettings], problem: ErrorDetails) -> str:
    limits = problem.get("ctx", {})
    # A validator's own message has what came, where that may be shown.
    own_message = str(limits.get("error", ""))
    field = str(problem["loc"][0]) if problem["loc"] else ""
    if field not in settings_type.model_fields:
        return own_message or problem["msg"]  # about several settings
    name = setting_name(settings_type, field)
    if own_message:
        return f"{name}: {own_message}"
    expected = expected_value(problem["type"], limits)
    text = f"{name}: expected {expected}" if expected else f"{name}: {problem['msg']}"
    secret = "Secret" in str(settings_type.model_fields[field].annotation)
    return text if secret else f"{text}, got {problem['input']!r}"


def _wrong_flag(settings_type: type[ServiceSettings], message: str) -> str:
    """Returns an error of argparse with what was probably meant."""
    text = message.removeprefix(_CLI_ERROR)
    unknown = text.removeprefix("unrecognized arguments: ")
    if unknown == text:
        text = text.removeprefix("argument ").replace("/--no-", " or --no-")
        return text.replace("ignored explicit argument", "expected no value, got").replace(
            "expected one argument", "expected a value"
        )
    flag = _FLAG.match(unknown)
    if flag is None:
        return f"a flag --NAME is expected, got {unknown!r}"
    return f"unknown flag {flag[0]}{did_you_mean(flag[0], map(_flag, settings_type.model_fields))}"


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Omits defaults that mean nothing to a reader; descriptions name those."""

    def _expand_help(self, action: argparse.Action) -> str:
        return _NO_DEFAULT.sub("", super()._expand_help(action))
