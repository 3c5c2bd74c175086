"""Artefacts as folders on disk. Blocks; on an event loop run it in a thread."""

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
    # Another process may make the same folder meanwhile: its content is the same.
    with staged_folder(target, replace=False, mode=0o700) as fresh:
        for file in artefact.files:
            _lay_out(file, blobs, fresh, link=link, verify=verify)
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
        digest = file_digest(path)
        if digest != file.sha256:
            raise CorruptData(f"blob {file.sha256} of '{file.path}' has the digest {digest}")
