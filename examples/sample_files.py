"""Files to classify: from this repository and the installation, and some written by the standard library."""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
import tarfile
import wave
import zipfile
from importlib.util import cache_from_source
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

_OF_REPOSITORY = (
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "docker-compose.yml",
    ".ci/run",
    "protos/onnxmesh/v1/frame.proto",
    "protos/open_inference.proto",
    "onnxmesh/errors.py",
    "examples/demo.py",
    "locks/base.txt",
)


def sample_files(folder: Path, model: Path) -> list[tuple[str, Path]]:
    """Returns names and files: existing ones, and those written to `folder`."""
    found = [(name, ROOT / name) for name in _OF_REPOSITORY]
    found += [
        ("the model itself", model),
        ("its configuration", model.parent / "config.min.json"),
        ("the Python interpreter", Path(sys.executable).resolve()),
        ("the json module", Path(str(json.__file__))),
        ("its byte code", Path(cache_from_source(str(json.__file__)))),
    ]
    found = [(name, path) for name, path in found if path.is_file()]
    return found + [(f"{path.name}, written now", path) for path in write_samples(folder)]


def write_samples(folder: Path) -> list[Path]:
    """Writes one file each of some binary formats and of HTML; returns them."""
    readme = (ROOT / "README.md").read_bytes()
    with gzip.open(folder / "readme.gz", "wb") as packed:
        packed.write(readme)
    with zipfile.ZipFile(folder / "readme.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", readme)
    with tarfile.open(folder / "readme.tar", "w") as tar:
        tar.add(ROOT / "README.md", arcname="README.md")
    with sqlite3.connect(folder / "numbers.sqlite") as database:
        database.execute("create table squares (number integer primary key, square integer)")
        database.executemany("insert into squares values (?, ?)", [(n, n * n) for n in range(200)])
    database.close()
    with wave.open(str(folder / "tone.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        tone = 8000 * np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)
        sound.writeframes(tone.astype("<i2").tobytes())
    np.save(folder / "tone.npy", tone)
    rows = "".join(f"<tr><td>{n}</td><td>{n * n}</td></tr>\n" for n in range(40))
    (folder / "squares.html").write_text(
        f"<!DOCTYPE html>\n<html><head><title>Squares</title></head>\n<body><table>\n{rows}</table></body></html>\n"
    )
    return sorted(folder.iterdir())
