"""Models of gigabytes: memory, linked weights, shared ranges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxmesh.files.digests import file_digest
from onnxmesh.graph.cutting.plan_file import PlanFile
from onnxmesh.graph.reading.optimise import OptimisationLevel, optimise
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.tensors.arrays import from_array
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, integers, model, node

ROWS, WIDTH = 270_000, 1024

TABLE_BYTES = ROWS * WIDTH * 4

ROW_WITH_DATA = 200_000


@pytest.fixture
def big(tmp_path) -> Path:
    """Two tables of 1.1 GB in one file of holes, but for a row of each."""
    nodes = [
        node("Gather", ["table0", "ids"], ["first"]),
        node("Tanh", ["first"], ["squashed"]),
        node("Gather", ["table1", "ids"], ["second"]),
        node("Add", ["squashed", "second"], ["y"]),
    ]
    made = model(nodes, [integers("ids", "N")], [floats("y", "N", WIDTH)])
    folder = tmp_path / "big"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "tables.bin").open("wb") as file:
        for number in range(2):
            tensor = made.graph.initializer.add(name=f"table{number}", data_type=TensorProto.FLOAT)
            tensor.dims.extend([ROWS, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": "tables.bin", "offset": number * TABLE_BYTES, "length": TABLE_BYTES}
            for key, entry in entries.items():
                tensor.external_data.add(key=key, value=str(entry))
            file.seek(number * TABLE_BYTES + ROW_WITH_DATA * WIDTH * 4)
            file.write(rng.standard_normal(WIDTH).astype(np.float32).tobytes())
        file.truncate(2 * TABLE_BYTES)
    (folder / "big.onnx").write_bytes(made.SerializeToString())
    return folder / "big.onnx"


SPLIT = """
import sys
from pathlib import Path
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
plan, _ = split_model(Path(sys.argv[1]), Path(sys.argv[2]), 2, mode=CutMode(sys.argv[3]))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read where Linux has it")
@pytest.mark.parametrize("mode", list(CutMode))
def test_model_over_two_gigabytes_is_cut_in_little_memory(big, tmp_path, mode):
    """Less than 500 MB are resident, holes stay holes, the chain answers as the whole; the owner's file is left alone."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", SPLIT, str(big), str(out), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert int(done.stdout) * 1024 < 500_000_000
    source = big.with_name("tables.bin").stat()
    assert source.st_nlink == 1
    assert sorted(path.name for path in big.parent.iterdir()) == ["big.onnx", "tables.bin"]
    plan = PlanFile.load(out)
    weights = [out / f"stage-{number}" / "model.weights" for number in range(2)]
    assert sum(file.stat().st_size for file in weights) == 2 * TABLE_BYTES > 1 << 31
    if source.st_blocks * 512 < 1 << 26:  # a file system that has holes
        assert sum(file.stat().st_blocks for file in weights) * 512 < 1 << 26
    level = plan.level if mode is CutMode.EXACT else mode.load_level
    feeds = {"ids": from_array("ids", np.array([ROW_WITH_DATA, 3, ROWS - 1]))}
    expected = StageSession(big, level=level, prepack=False).run(feeds)["y"]
    found = PartitionChain(out, plan.partitions, level=mode.load_level).run(feeds)["y"]
    assert bytes(found.data) == bytes(expected.data)
    assert any(bytes(found.data))


def test_unchanged_weights_are_not_written_again(tmp_path):
    """The optimised model names the owner's files, which lie beside it as links for as long as they are needed."""
    path = ZOO["weights_beside"].build(tmp_path)
    optimised = optimise(path, tmp_path / "work", OptimisationLevel.EXTENDED)
    assert (tmp_path / "a.bin").samefile(optimised.with_name("a.bin"))
    tensors = onnx.load(optimised, load_external_data=False).graph.initializer
    places = {tensor.name: {e.key: e.value for e in tensor.external_data} for tensor in tensors}
    assert places["w0"]["location"] == "a.bin"
    split_model(path, tmp_path / "out", 3)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        ["a.bin", "more", "out", "weights_beside.onnx", "work"]
    )
    # No link of the split's own is left: only that of the work folder.
    assert (tmp_path / "a.bin").stat().st_nlink == 2


def test_hard_linked_weights_are_accepted(tmp_path):
    """A store of content may hold the same file by another name."""
    path = ZOO["weights_beside"].build(
        tmp_path / "model" if (tmp_path / "model").mkdir() is None else tmp_path
    )
    os.link(tmp_path / "model" / "a.bin", tmp_path / "elsewhere")
    split_model(path, tmp_path / "out", 2)
    split_model(path, tmp_path / "portable", 2, mode=CutMode.PORTABLE)


@pytest.mark.parametrize("mode", list(CutMode))
def test_file_with_a_reserved_name_is_not_overwritten(tmp_path, mode):
    """External data may have any name, also that of the optimised model."""
    path = ZOO["weights_beside"].build(tmp_path)
    made = onnx.load(path, load_external_data=False)
    (tmp_path / "a.bin").rename(tmp_path / "optimised.onnx")
    for tensor in made.graph.initializer:
        for entry in tensor.external_data:
            if entry.value == "a.bin":
                entry.value = "optimised.onnx"
    path.write_bytes(made.SerializeToString())
    before = file_digest(tmp_path / "optimised.onnx")
    plan, _ = split_model(path, tmp_path / "out", 2, mode=mode)
    assert file_digest(tmp_path / "optimised.onnx") == before
    feeds = ZOO["weights_beside"].tensors(1)
    expected = StageSession(path, level=OptimisationLevel.EXTENDED).run(feeds)["y"]
    assert PartitionChain(tmp_path / "out", plan.partitions).run(feeds)["y"].data == expected.data


def test_weights_of_one_range_share_its_bytes(tmp_path):
    """Weights that an exporter tied by pointing to the same bytes are written once for each stage."""
    table = np.random.default_rng(0).standard_normal((4096, 4200)).astype(np.float32)
    nodes = [
        node("Gather", ["one", "ids"], ["a"]),
        node("Gather", ["other", "ids"], ["b"]),
        node("Add", ["a", "b"], ["y"]),
    ]
    made = model(nodes, [integers("ids", "N")], [floats("y", "N", 4200)])
    (tmp_path / "table.bin").write_bytes(table.tobytes())
    for name in ("one", "other"):
        tensor = made.graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=table.shape)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="table.bin")
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    plan, _ = split_model(tmp_path / "m.onnx", tmp_path / "out", 1)
    assert (tmp_path / "out" / "stage-0" / "model.weights").stat().st_size == table.nbytes
    feeds = {"ids": from_array("ids", np.array([7]))}
    found = PartitionChain(tmp_path / "out", plan.partitions).run(feeds)["y"]
    assert bytes(found.data) == (2 * table[7]).tobytes()
