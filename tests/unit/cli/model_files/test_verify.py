"""`onnxmesh verify`: partitions against the uncut model."""

from __future__ import annotations

import json

import numpy as np
import pytest

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


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A model and the folder that it was split into."""
    folder = tmp_path_factory.mktemp("cut")
    model = ZOO["mlp"].build(folder)
    assert run("split", model, "--stages", 2, "--out", folder / "out", "--batch", 4).exit_code == 0
    return folder / "out", model


def test_verify_reports_the_shapes_that_it_ran(cut):
    """Those of the plan and a small one, those of options, or those of files."""
    folder, model = cut
    np.save(folder.parent / "x.npy", np.ones((3, 32), np.float32))
    shown = run("verify", folder, model)
    assert shown.exit_code == 0, shown.stderr
    assert (
        "equal bit for bit on 3 random inputs of x 4x32 and x 2x32 at optimisation extended" in shown.stdout
    )
    found = run("verify", folder, model, "--shape", "x=5x32", "--json")
    assert json.loads(found.stdout)["shapes"] == [{"x": [5, 32]}]
    assert "random inputs of x 7x32" in run("verify", folder, model, "--batch", 7).stdout
    assert "random inputs of x 6x32" in run("verify", folder, model, "--free", 6).stdout
    given = run("verify", folder, model, "--input", f"x={folder.parent / 'x.npy'}")
    assert "equal bit for bit on 1 input of x " in given.stdout, given.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shape", "x=1x31"], "shape for 'x': expected [-1, 32]"),
        (["--shape", "y=1x32"], "shape for 'y'"),
        (["--batch", 0], "--batch: expected a positive number, got 0"),
        (["--input", "y=y.npy"], "has no input 'y': it has x (FP32[-1, 32])"),
        (["--free", 2, "--batch", 2], "give either --free, or --batch, --shape and --input"),
    ],
)
def test_verify_names_wrong_shapes_and_inputs(cut, options, words):
    """In one line, with exit code 2."""
    folder, model = cut
    done = run("verify", folder, model, *options)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr
