"""The command line `onnxmesh`."""

from __future__ import annotations


def main() -> None:
    """Runs the command that the arguments name; the console script."""
    from onnxmesh.cli.app import app  # noqa: PLC0415 - the package must stay cheap to import

    app(prog_name="onnxmesh")
