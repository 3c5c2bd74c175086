"""The source model in the form that the mesh reads, with its external data beside it."""

from __future__ import annotations

from pathlib import Path

from onnxmesh.graph.reading.external_data import external_files, link_external_files
from onnxmesh.graph.reading.normalise import normalise
from onnxmesh.graph.reading.source import load_structure


def normalised_source(source: Path, folder: Path) -> Path:
    """Returns a source model in normal form: the file itself, or a copy where it differs.

    A copy has its external data beside it under plain paths, as hard links where possible: ONNX Runtime and onnx-ir
    refuse symbolic links such as those of Hugging Face's cache.

    Args:
        source: A model that `check_source` accepts.
        folder: For the copy; created if missing.

    Raises:
        InvalidModel: The model cannot be read (INVALID_ARGUMENT).
        OSError: The copy cannot be written.
    """
    model = load_structure(source)
    files = external_files(model, source.parent)
    home = source.parent.resolve()
    as_named = all(path.resolve() == home / name for name, path in files.items())
    if not normalise(model) and as_named:
        return source
    folder.mkdir(parents=True, exist_ok=True)
    link_external_files(files, folder)
    name = source.name
    while name in files:
        name = f"_{name}"
    copy = folder / name
    copy.write_bytes(model.SerializeToString())
    return copy
