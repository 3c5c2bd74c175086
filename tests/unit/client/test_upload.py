"""The upload of a model as messages."""

from __future__ import annotations

import pytest

from onnxmesh.client.upload import upload_files, upload_messages
from onnxmesh.errors import InvalidModel


async def test_upload_messages_have_each_file_and_the_end(tmp_path):
    """Every byte of every file comes after its name, and the number of files last."""
    path = tmp_path / "m.onnx"
    content = b"x" * (3 << 20)
    path.write_bytes(content)
    sent = [message async for message in upload_messages(upload_files(path))]
    kinds = [message.WhichOneof("kind") for message in sent]
    assert kinds == ["file", "data", "data", "data", "end"]
    assert sent[0].file.byte_size == len(content)
    assert b"".join(message.data for message in sent) == content
    assert sent[-1].end.num_files == 1


def test_upload_files_name_a_missing_model(tmp_path):
    """So is a folder in its place."""
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(InvalidModel, match=str(path)):
            upload_files(path)


def test_upload_refuses_a_file_that_can_be_no_model(tmp_path):
    """It may be large; the reason and the cure are known here."""
    (tmp_path / "m.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 9\n")
    with pytest.raises(
        InvalidModel, match=r"'m.onnx' is not an ONNX model; it is a Git LFS pointer .* git lfs pull"
    ):
        upload_files(tmp_path / "m.onnx")
