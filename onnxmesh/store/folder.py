"""Conversion between artefacts and folders on disk. Blocks: on an event loop, run it in a thread."""

from __future__ import annotations

from pathlib import Path

from onnxmesh.errors import CorruptData, NotFound
from onnxmesh.files.digests import file_digest
from onnxmesh.files.file_ranges import link_or_copy
from onnxmesh.files.staging import staged_folder
from onnxmesh.store.artefact import artefact_of, check_artefact
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.model_pb2 import Artefact, File


def pack(folder: Path, blobs: BlobFolder) -> Artefact:
    """Stores every file below `folder` in `blobs`, by hard links where possible, and returns their artefact.

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
    """Writes an artefact as the folder `target`, which appears complete or not at all.

    A `target` that exists is not checked: name it after the artefact's digest.

    Args:
        artefact: The artefact; all its blobs must be in `blobs`.
        blobs: The store of its blobs.
        target: The folder to create.
        link: Use hard links where possible. False: copy, because `onnx` refuses external data with several links.
        verify: Check the digest of every blob, for disks that are not trusted.

    Returns:
        `target`.

    Raises:
        NotFound: A blob is not stored (NOT_FOUND).
        CorruptData: A blob or the listing does not match its digest (DATA_LOSS).
        InvalidRequest: A path is unsafe (INVALID_ARGUMENT).
    """
    check_artefact(artefact)
    if target.is_dir():
        return target
    # Another process may make the same folder meanwhile: its content is the same.
    with staged_folder(target, replace=False, mode=0o700) as fresh:
        for file in artefact.files:
            _write_file(file, blobs, fresh, link=link, verify=verify)
    return target


def _write_file(file: File, blobs: BlobFolder, folder: Path, *, link: bool, verify: bool) -> None:
    source, path = blobs.path(file.sha256), folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        link_or_copy(source, path, link=link)
    except FileNotFoundError:
        raise NotFound(f"blob {file.sha256} of '{file.path}' is not stored here") from None
    size = path.stat().st_size
    if size != file.byte_size:
        raise CorruptData(f"blob {file.sha256} of '{file.path}' has {size} bytes, {file.byte_size} expected")
    if verify:
        digest = file_digest(path)
        if digest != file.sha256:
            raise CorruptData(f"blob {file.sha256} of '{file.path}' has the digest {digest}")
