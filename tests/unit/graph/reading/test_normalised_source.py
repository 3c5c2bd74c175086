"""Source models in normal form, with external data beside them."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.normalised_source import normalised_source
from onnxmesh.graph.reading.source import check_source, source_digest
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.graph.split import split_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.tensors.arrays import from_array, to_array
from tests.zoo.external_model import WEIGHTS, linked_as_in_a_cache, write_model


def answer_of(path) -> np.ndarray:
    return to_array(StageSession(path).run({"x": from_array("x", np.ones((1, 64), np.float32))})["y"])


def test_normalised_source_is_the_file_itself_where_nothing_differs(tmp_path):
    """No copy is made of an ordinary model."""
    path = write_model(tmp_path, "data/w.bin")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert normalised_source(path, tmp_path / "copy") == path
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("location", "file"),
    [
        ("onnx::MatMul_12", "onnx::MatMul_12"),
        ("data\\w.bin", "data/w.bin"),
        ("./w.bin", "w.bin"),
        ("data/../w.bin", "w.bin"),
        ("100%25 größe 重み.bin", "100%25 größe 重み.bin"),
        ("m.onnx.data", "m.onnx.data"),
    ],
)
def test_locations_of_any_spelling_are_read(tmp_path, location, file):
    """By the check, the digest, ONNX Runtime and both modes of cutting alike."""
    path = write_model(tmp_path / "model", location)
    (tmp_path / "model" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "model" / file).write_bytes(WEIGHTS.tobytes())
    check_source(path)
    expected = np.maximum(np.ones((1, 64), np.float32) @ WEIGHTS, 0)
    np.testing.assert_allclose(answer_of(normalised_source(path, tmp_path / "copy")), expected, rtol=1e-6)
    for mode in CutMode:
        plan, _ = split_model(path, tmp_path / mode, 2, mode=mode)
        assert plan.source_digest == source_digest(path)
        assert sum(partition.weight_bytes for partition in plan.partitions) == WEIGHTS.nbytes


def test_source_digest_does_not_depend_on_the_spelling_of_folders(tmp_path):
    """Only the model's own bytes differ, not the listing of its data."""
    digests = set()
    for number, link in enumerate([False, True]):
        folder = tmp_path / str(number)
        path = write_model(folder, "w.bin")
        (tmp_path / "blob").write_bytes(WEIGHTS.tobytes())
        if link:
            (folder / "w.bin").symlink_to(tmp_path / "blob")
        else:
            (folder / "w.bin").write_bytes(WEIGHTS.tobytes())
        digests.add(source_digest(path))
    assert len(digests) == 1


def test_links_of_the_user_are_followed_and_those_of_an_upload_are_not(tmp_path):
    """The cache layout of Hugging Face is cut by its owner's command; a worker refuses links out of the folder."""
    path = linked_as_in_a_cache(tmp_path)
    with pytest.raises(InvalidModel, match="links to outside the model's folder"):
        check_source(path)
    check_source(path, follow_links=True)
    copy = normalised_source(path, tmp_path / "copy")
    assert not any(file.is_symlink() for file in (tmp_path / "copy").iterdir())
    np.testing.assert_allclose(answer_of(copy), np.ones((1, 64), np.float32) @ WEIGHTS, rtol=1e-6)


def test_normalised_source_never_names_a_copy_like_its_data(tmp_path):
    """The data may be named as the model is once the location is plain."""
    path = write_model(tmp_path / "a", "sub/../w.onnx", "w.onnx.tmp").rename(tmp_path / "a" / "v.onnx")
    (tmp_path / "a" / "w.onnx").write_bytes(WEIGHTS.tobytes())
    copy = normalised_source(path, tmp_path / "copy")
    assert sorted(file.name for file in (tmp_path / "copy").iterdir()) == ["v.onnx", "w.onnx"]
    assert answer_of(copy).shape == (1, 64)
