"""All commands of `onnxmesh`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxmesh import __version__
from onnxmesh.cli.local_mesh import up
from onnxmesh.cli.mesh import deployments, drain, explain, infer, rebalance, rollout, scale, status
from onnxmesh.cli.model_files import cut, plan, profile

_HELP = """Cut ONNX models over machines and serve them as one Open Inference endpoint.

**Try it**, the first command in one terminal and the others in another:

    onnxmesh up
    onnxmesh deploy model.onnx --stages 2
    onnxmesh infer model --input x=random --trace
    onnxmesh status

Exit codes: 0 done; 1 it failed, or `verify` found a difference; 2 the input is wrong.
"""

app = typer.Typer(
    name="onnxmesh",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(up.up)
app.command()(deployments.deploy)
app.command()(deployments.undeploy)
app.command()(status.status)
app.command()(scale.scale)
app.command()(rollout.rollout)
app.command()(drain.drain)
app.command()(rebalance.rebalance)
app.command()(infer.infer)
app.command()(explain.explain)
app.command()(plan.plan)
app.command()(profile.profile)
app.command()(cut.split)
app.command()(cut.verify)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onnxmesh {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
