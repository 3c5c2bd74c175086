"""Files that are no ONNX model although their name says so: what they are, and how to get the model."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_HEAD_BYTES = 512
_MAX_TEXT_BYTES = 1 << 20
_QUOTED_CHARS = 60
_EXPORT = "export the model to ONNX (in PyTorch: torch.onnx.export)"

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x1f\x8b", "compressed with gzip: unpack it with gunzip"),
    (0, b"BZh", "compressed with bzip2: unpack it with bunzip2"),
    (0, b"\xfd7zXZ\x00", "compressed with xz: unpack it with unxz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it with unzstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack the model from it"),
    (257, b"ustar", "a tar archive: unpack the model from it with tar -xf"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes: convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model: convert it with tf2onnx"),
    (4, b"ORTM", "in ONNX Runtime's ORT format: serve the .onnx file that it was made from"),
    (0, b"GGUF", "a GGUF file of llama.cpp: serve an ONNX export of that model"),
    (0, b"\x93NUMPY", "an array of numpy.save, not a model"),
    (0, b"\x80\x02", f"a Python pickle, as torch.save and joblib write: {_EXPORT}"),
    (0, b"\x80\x03", f"a Python pickle, as torch.save and joblib write: {_EXPORT}"),
    (0, b"\x80\x04", f"a Python pickle, as torch.save and joblib write: {_EXPORT}"),
    (0, b"\x80\x05", f"a Python pickle, as torch.save and joblib write: {_EXPORT}"),
)
"""Position, first bytes, and a text that follows "it is"."""

_LFS = (b"version https://git-lfs", b"version https://hawser")
_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body")


def foreign_file(path: Path) -> str:
    """Returns what a file is that can be no ONNX model, and what helps, as words that follow "it is"; else an empty text.

    It judges by the first bytes and knows common downloads and formats; none of these is a readable ONNX model. An empty
    text does not mean that the file is a model.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if what := _by_first_bytes(head):
            return what
        if head.startswith(b"PK\x03\x04"):
            return _archive(file)
        if _is_safetensors(head, path.stat().st_size):
            return f"a safetensors file, weights without a graph: {_EXPORT}"
        return _text(file)


def _by_first_bytes(head: bytes) -> str:
    if not head:
        return "empty: download or export it again"
    if head.startswith(_LFS):
        return "a Git LFS pointer in place of the file: fetch it with git lfs pull"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_WEB_PAGE):
        return "a web page: download the file itself, on GitHub by 'raw', on Hugging Face by /resolve/ in place of /blob/"
    return next((what for position, magic, what in _MAGIC if head[position:].startswith(magic)), "")


def _archive(file: IO[bytes]) -> str:
    try:
        names = zipfile.ZipFile(file).namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return "a broken zip archive: download it again"
    if any(name.endswith(("/data.pkl", "constants.pkl")) for name in names):
        return f"a PyTorch file, as torch.save and torch.jit.save write: {_EXPORT}"
    if "model.weights.h5" in names:
        return "a Keras model: convert it with tf2onnx"
    if inside := next((name for name in names if name.endswith(".onnx")), ""):
        return f"a zip archive with '{inside}': unpack it with unzip"
    return "a zip archive: unpack the model from it with unzip"


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:10] in {b'{"', b"{}", b"{ "} and 2 <= length <= size - 8


def _text(file: IO[bytes]) -> str:
    """Recognises short text files: an ONNX model has a control character, the tag of its IR version."""
    file.seek(0)
    content = file.read(_MAX_TEXT_BYTES + 1)
    if len(content) > _MAX_TEXT_BYTES:
        return ""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return ""
    if _has_control_characters(text):
        return ""
    words = " ".join(text.split())
    quoted = words if len(words) <= _QUOTED_CHARS else f"{words[:_QUOTED_CHARS]}…"
    return f"a text file: '{quoted}'"


def _has_control_characters(text: Iterable[str]) -> bool:
    return any(character < " " and character not in "\t\r\n\f" for character in text)
