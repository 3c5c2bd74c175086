"""The command line `onnxmesh`."""

from __future__ import annotations

import sys

_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


def main() -> None:
    """Runs the command of the arguments; the console script `onnxmesh`."""
    try:
        from onnxmesh.cli.app import app  # noqa: PLC0415 - importing the package must stay cheap

        app(prog_name="onnxmesh")
    except KeyboardInterrupt:
        # Typer handles Ctrl-C in a command; this one came while the packages were imported.
        sys.exit(_INTERRUPTED)
