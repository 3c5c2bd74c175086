"""The Typer application `onnxmesh` with all its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxmesh import __version__
from onnxmesh.cli.local_mesh import up
from onnxmesh.cli.mesh import deploy, drain, explain, infer, rebalance, rollout, scale, status, undeploy
from onnxmesh.cli.model_files import plan, profile, split, verify
from onnxmesh.cli.terminal.usage_errors import CommandGroup

_HELP = """Cut ONNX models into stages, run the stages on several machines, and serve them at one Open Inference endpoint.

**Try it**: the first command in one terminal, the others in a second one:

```
onnxmesh up
onnxmesh deploy model.onnx --stages 2
onnxmesh infer model --input x=random --trace
onnxmesh status
```

Exit codes: 0 success; 1 failure, or `verify` found a difference; 2 wrong arguments or files.
"""

app = typer.Typer(
    cls=CommandGroup,
    name="onnxmesh",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(up.up)
app.command()(deploy.deploy)
app.command()(undeploy.undeploy)
app.command()(status.status)
app.command()(scale.scale)
app.command()(rollout.rollout)
app.command()(drain.drain)
app.command()(rebalance.rebalance)
app.command()(infer.infer)
app.command()(explain.explain)
app.command()(plan.plan)
app.command()(profile.profile)
app.command()(split.split)
app.command()(verify.verify)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"onnxmesh {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
