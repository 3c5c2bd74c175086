"""Artefacts as folders on disk. Blocks; on an event loop run it in a thread."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.store.artefact import artefact_of, check_artefact
from onnxmesh.store.blobs import BlobFolder, link_or_copy
from onnxmesh.v1.model_pb2 import Artefact, File


def pack(folder: Path, blobs: BlobFolder) -> Artefact:
    """Takes every file below `folder` into `blobs`, by hard link where possible.

    Raises:
        InvalidRequest: A file's name cannot be in an artefact (INVALID_ARGUMENT).
    """
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sha256, size = blobs.put_file(path)
            files.append(File(path=path.relative_to(folder).as_posix(), sha256=sha256, byte_size=size))
    return artefact_of(files)


def materialise(
    artefact: Artefact, blobs: BlobFolder, target: Path, *, link: bool = True, verify: bool = False
) -> Path:
    """Lays an artefact out as the folder `target`; the folder appears whole or not at all.

    A `target` that exists is taken as it is: name it after the artefact's digest.

    Args:
        artefact: What to lay out; all its blobs must be in `blobs`.
        blobs: Where they are.
        target: The folder to make.
        link: Hard links where possible. False copies: `onnx` refuses external data that has several links.
        verify: Hashes every blob once more, for disks that are not trusted.

    Returns:
        `target`.

    Raises:
        NotFound: A blob is missing (NOT_FOUND).
        CorruptData: A blob, or the artefact's name, does not have the digest that it claims (DATA_LOSS).
        InvalidRequest: A path is unsafe (INVALID_ARGUMENT).
    """
    check_artefact(artefact)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for file in artefact.files:
            _lay_out(file, blobs, aside, link=link, verify=verify)
        _rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _lay_out(file: File, blobs: BlobFolder, folder: Path, *, link: bool, verify: bool) -> None:
    source, path = blobs.path(file.sha256), folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        link_or_copy(source, path, link=link)
    except FileNotFoundError:
        raise NotFound(f"blob {file.sha256} of '{file.path}' is not held here") from None
    size = path.stat().st_size
    if size != file.byte_size:
        raise CorruptData(f"blob {file.sha256} of '{file.path}' has {size} bytes, {file.byte_size} expected")
    if verify:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != file.sha256:
            raise CorruptData(f"blob {file.sha256} of '{file.path}' has the digest {digest}")


def _rename(aside: Path, target: Path) -> None:
    try:
        os.rename(aside, target)  # noqa: PTH104 - Path.rename would do; this one says that it is atomic
    except OSError:
        # Somebody else made the same folder in the meantime: the same content.
        if not target.is_dir():
            raise
