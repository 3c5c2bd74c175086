"""Paths of models that people give: checked before anything is read."""

from __future__ import annotations

from pathlib import Path

from onnxmesh.error_text import most_similar
from onnxmesh.errors import InvalidModel


def require_model_file(model: Path) -> None:
    """Checks that a model's path names a file.

    Raises:
        InvalidModel: There is none, or it is a folder; the message has the model that was probably meant
            (INVALID_ARGUMENT).
    """
    if model.is_file():
        return
    if model.is_dir():
        found = sorted(model.glob("*.onnx"))
        hint = f", such as '{found[0]}'" if found else ""
        raise InvalidModel(
            f"no model at '{model}': it is a folder, and the file of a model is expected{hint}"
        )
    try:
        beside = {each.stem: each for each in model.parent.glob("*.onnx")}
    except OSError:
        beside = {}
    alike = most_similar(model.stem, beside)
    hint = f"; did you mean '{beside[alike]}'?" if alike else ""
    raise InvalidModel(f"no model at '{model}': there is no such file{hint}")
