"""Output tensors of `onnxmesh infer` as files: one .npy file for each, whatever the outputs' names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from onnxmesh.client.infer_result import Array
from onnxmesh.errors import InvalidRequest

_MAX_STEM_BYTES = 200
"""File systems allow 255 bytes for a name with its suffixes."""

_UNSAFE = re.compile(r"[^\w.=,+@ -]")
"""Characters with a meaning in paths, shells or on other systems; letters and digits of all languages stay."""


def save_outputs(folder: Path, outputs: Mapping[str, Array]) -> dict[str, Path]:
    """Writes each output to a .npy file of its own; strings become fixed-length bytes.

    Returns:
        The file of each output, by name.

    Raises:
        InvalidRequest: The folder cannot be written to, or an output holds strings that a .npy file cannot hold
            (INVALID_ARGUMENT).
    """
    files = {name: folder / f"{stem}.npy" for name, stem in file_stems(outputs).items()}
    for name, path in files.items():
        array = outputs[name]
        if array.dtype == np.object_:
            if any(bytes(element).endswith(b"\0") for element in array.ravel().tolist()):
                raise InvalidRequest(
                    f"output '{name}' has strings that end with a zero byte, which a .npy file would lose: "
                    "use --json instead of --out"
                )
            array = array.astype(np.bytes_)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
        except OSError as error:
            raise InvalidRequest(f"--out: cannot write '{path}': {error.strerror}") from error
    return files


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """Returns a distinct file name, without suffix, for each output; a usable name stays as it is.

    Names are distinct on file systems that ignore case and Unicode normalisation, too.
    """
    stems = {name: _safe(name) for name in names}
    taken: set[str] = set()
    # Names that are usable as they are keep their files; then the others are numbered around them.
    for name in sorted(stems, key=lambda each: stems[each] != each):
        number, stem = 1, stems[name]
        while _folded(stem) in taken:
            number += 1
            stem = f"{stems[name]}-{number}"
        taken.add(_folded(stem))
        stems[name] = stem
    return stems


def _safe(name: str) -> str:
    text = _UNSAFE.sub("_", name).strip(" ")
    text = text.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    # A leading dot would hide the file, or name a parent folder; a leading dash would look like an option.
    return f"_{text}" if not text or text[0] in ".-" else text


def _folded(stem: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())
