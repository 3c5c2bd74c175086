"""Wrong arguments as one line on standard error, like every other error of a command."""

from __future__ import annotations

import sys
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from onnxmesh.cli.terminal.exit_codes import BAD_INPUT, FAILED
from onnxmesh.error_text import did_you_mean
from onnxmesh.expected_values import expected_value

_UsageError: Any = typer.BadParameter.__base__
"""The base of all errors of arguments; its module is another one in each version of Typer."""


class CommandGroup(TyperGroup):
    """The group of all commands."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command of the arguments and exits with its code."""
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except typer.Abort:
            sys.exit(FAILED)
        except _UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
            else:
                typer.echo(f"error: {usage_text(error)}", err=True)
            sys.exit(BAD_INPUT)
        sys.exit(code if isinstance(code, int) else 0)


def usage_text(error: Any) -> str:
    """Returns what is wrong with the arguments, what was expected, and where the help is.

    Args:
        error: A `UsageError` of Typer.
    """
    where = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
    if (option := getattr(error, "option_name", None)) and hasattr(error, "possibilities"):
        known = [name for param in error.ctx.command.params for name in param.opts] if error.ctx else []
        return f"there is no option {option}{did_you_mean(option, known)}{where}"
    param = getattr(error, "param", None)
    if param is None:
        return f"{_sentence(error.format_message())}{where}"
    name = param.opts[-1] if param.param_type_name == "option" else param.metavar or param.name.upper()
    if type(error).__name__ == "MissingParameter":
        return f"{name} is missing{where}"
    return f"{name}: {_wrong_value(error)}{where}"


def _wrong_value(error: Any) -> str:
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return _sentence(error.message)
    problem = cause.errors()[0]
    limits = problem.get("ctx", {})
    if own := str(limits.get("error", "")):
        return _sentence(own)
    expected = expected_value(problem["type"], limits) or problem["msg"]
    return f"expected {expected}, got '{problem['input']}'"


def _sentence(text: str) -> str:
    """Returns a sentence of Typer as the middle of ours."""
    line = " ".join(text.split()).removesuffix(".").replace(". Did you mean", "; did you mean")
    return line[:1].lower() + line[1:]
