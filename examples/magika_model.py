"""Writes the file-type model of `make demo`, which is trained: `python -m examples.magika_model magika.onnx`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from examples.magika_features import FileTypeModel


def write_magika_model(path: Path) -> None:
    shutil.copyfile(FileTypeModel.installed().path, path)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "magika.onnx")
    write_magika_model(target)
    print(f"wrote {target}")
