"""Random graphs against the proof that rows are independent: `python -m benchmarks.rows_fuzz --num 2000 [--mesh]`.

Each graph has 5 to 40 nodes and rows at axis 0 of its inputs and outputs; half of them have operators that mix rows. In this process a graph
passes the steps of a deployment; where it would run batches, 32 requests run in batches with extreme neighbours and are compared with their
runs alone, bit by bit. With `--mesh` it is deployed on a running mesh, together with others, and 32 requests are in flight; then one large
request is sent alone, and in slices where a gateway may split it. The share of the graphs without mixing that are proven and that are batched is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.rows_fuzz.batched_stages import examine_stages
from benchmarks.rows_fuzz.fuzz_counts import FuzzCounts
from benchmarks.rows_fuzz.mesh_run import run_on_mesh
from onnxmesh.client import LocalMesh
from onnxmesh.errors import MeshError

_SETTINGS = {"ONNXMESH_PROFILE_S": "0"}
"""Nodes are not measured: the graphs are tiny."""


def main() -> None:
    """Examines graphs and prints a line of progress, then the figures; ends with 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num", type=int, default=2000, help="number of graphs")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--mesh", action="store_true", help="deploy them on a mesh of this machine")
    parser.add_argument("--at-once", type=int, default=8, help="models in service at a time on the mesh")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.num)
    counts = FuzzCounts(len(seeds))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.mesh:
            with LocalMesh("--threads=1", "--workers=3", environment=_SETTINGS) as local:
                address = local.wait_ready()
                asyncio.run(run_on_mesh(address, folder, seeds, at_once=options.at_once, report=counts.add))
        else:
            for seed in seeds:
                own = folder / str(seed)
                own.mkdir()
                try:
                    counts.add(examine_stages(seed, own, 1 + seed % 3))
                except MeshError as error:
                    counts.add(error)
    counts.show()
    sys.exit(not counts.right)


if __name__ == "__main__":
    main()
