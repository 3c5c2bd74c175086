"""Files that are no ONNX model."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from examples.tiny_model import tiny_model
from onnxmesh.files.foreign_file import foreign_file
from tests.zoo import ZOO

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 102502400\n"


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"content")  # without the time of the day
    return content.getvalue()


def tarred():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))
    return content.getvalue()


def saved_array():
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()


SAFETENSORS = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty: download or export it again"),
        (LFS, "a Git LFS pointer in place of the file: fetch it with git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html lang='en'>", "a web page: download the file itself"),
        (b"\xef\xbb\xbf<HTML>", "a web page"),
        (gzip.compress(b"model", mtime=0), "compressed with gzip: unpack it with gunzip"),
        (zipped("archive/data.pkl", "archive/data/0"), "a PyTorch file"),
        (zipped("code/__torch__.py", "constants.pkl"), "a PyTorch file"),
        (zipped("config.json", "model.weights.h5"), "a Keras model: convert it with tf2onnx"),
        (zipped("README", "out/net.onnx"), "a zip archive with 'out/net.onnx': unpack it with unzip"),
        (zipped("a.txt"), "a zip archive: unpack the model"),
        (zipped("a.txt")[:40], "a broken zip archive: download it again"),
        (tarred(), "a tar archive"),
        (pickle.dumps({"w": 1}), "a Python pickle, as torch.save and joblib write"),
        (len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4), "a safetensors file, weights"),
        (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
        (b"\x1c\x00\x00\x00ORTM", "in ONNX Runtime's ORT format"),
        (b"GGUF\x03", "a GGUF file"),
        (saved_array(), "an array of numpy.save"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"404: Not Found\n", "a text file: '404: Not Found'"),
        (b"{" + b'"error": "no access", ' * 9 + b"}", 'a text file: \'{"error": "no access"'),
    ],
)
def test_foreign_file_recognises_a_common_mistake_and_names_its_cure(tmp_path, content, words):
    """By its first bytes."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert foreign_file(path).startswith(words)


@pytest.mark.parametrize("name", ["mlp", "tied_weights", "branching_cnn"])
def test_models_are_not_foreign(tmp_path, name):
    """Nor is what cannot be recognised."""
    assert foreign_file(ZOO[name].build(tmp_path)) == ""
    (tmp_path / "tiny.onnx").write_bytes(tiny_model().SerializeToString())
    assert foreign_file(tmp_path / "tiny.onnx") == ""
    (tmp_path / "other").write_bytes(bytes(range(200)))
    assert foreign_file(tmp_path / "other") == ""


def test_foreign_file_does_not_read_a_long_text(tmp_path):
    """Recognition reads a megabyte at most."""
    (tmp_path / "long").write_bytes(b"x" * (1 << 21))
    assert foreign_file(tmp_path / "long") == ""
