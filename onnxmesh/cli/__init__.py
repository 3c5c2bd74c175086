"""The command line `onnxmesh`."""

from __future__ import annotations


def main() -> None:
    """Runs the command of the arguments; the console script `onnxmesh`."""
    from onnxmesh.cli.app import app  # noqa: PLC0415 - importing the package must stay cheap

    app(prog_name="onnxmesh")
