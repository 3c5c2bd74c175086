"""`onnxmesh verify`: partitions against the uncut model."""

from __future__ import annotations

from tests.fakes.command_line import run
from tests.zoo import ZOO


def test_verify_reports_a_changed_partition(tmp_path):
    """One changed byte, a missing file, another model: each is exit code 1 with its own message."""
    model = ZOO["mlp"].build(tmp_path)
    other = ZOO["tied_weights"].build(tmp_path)
    cut = tmp_path / "cut"
    assert run("split", model, "--stages", 2, "--out", cut).exit_code == 0
    other_model = run("verify", cut, other)
    assert (other_model.exit_code, "is not the model that was split" in other_model.stderr) == (1, True)
    partition = cut / "stage-1" / "model.onnx"
    content = bytearray(partition.read_bytes())
    content[len(content) // 2] ^= 1
    partition.write_bytes(content)
    changed = run("verify", cut, model)
    assert (changed.exit_code, "stage 1: 'model.onnx' has digest" in changed.stderr) == (1, True)
    partition.unlink()
    missing = run("verify", cut, model)
    assert (missing.exit_code, "is missing" in missing.stderr) == (1, True)
