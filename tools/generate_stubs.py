"""Writes the Python stubs of protos/ into the packages that mirror its folders.

`python tools/generate_stubs.py` writes them; `--check` fails if the committed ones are stale.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OPEN_INFERENCE = "open_inference_pb2.py"


def generate(out: Path) -> None:
    """Writes every stub below `out`."""
    well_known = Path(protoc.__file__).parent / "_proto"
    meshes = sorted(str(path) for path in (PROTOS / "onnxmesh").rglob("*.proto"))
    services = [path for path in meshes if "\nservice " in Path(path).read_text()]
    include = [f"-I{PROTOS}", f"-I{well_known}"]
    run([*include, f"--python_out={out}", f"--mypy_out=quiet:{out}", *meshes])
    run([*include, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet,only_async:{out}", *services])
    oip = out / "onnxmesh" / "oip"
    oip.mkdir(parents=True, exist_ok=True)
    run(
        [
            f"-I{PROTOS}",
            f"--python_out={oip}",
            f"--mypy_out=quiet:{oip}",
            str(PROTOS / "open_inference.proto"),
        ]
    )
    # tritonclient and kserve put messages of the same names into the default pool; a process that
    # imports one of them and onnxmesh works only if ours live in a pool of their own.
    stub = oip / OPEN_INFERENCE
    text = stub.read_text()
    if text.count("_descriptor_pool.Default()") != 1:
        raise SystemExit(f"{OPEN_INFERENCE}: protoc no longer names the default pool exactly once")
    stub.write_text(text.replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()"))


def run(arguments: list[str]) -> None:
    # protoc finds the plugins of mypy-protobuf on the path: those beside this Python.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("protoc failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare with what is committed")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        names = [str(path.relative_to(fresh)) for path in fresh.rglob("*_pb2*")]
        _, stale, missing = filecmp.cmpfiles(fresh, ROOT, names, shallow=False)
        if stale or missing:
            sys.exit(f"stale stubs, run `make protos`: {', '.join(sorted(stale + missing))}")
        print(f"{len(names)} stubs are fresh")


if __name__ == "__main__":
    main()
