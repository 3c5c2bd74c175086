"""The demo's own feature extraction, against magika itself."""

from __future__ import annotations

import onnxruntime
import pytest
from magika import Magika
from magika.types import PredictionMode

from examples.magika_features import FileTypeModel
from examples.sample_files import ROOT, sample_files


@pytest.fixture(scope="module")
def model():
    return FileTypeModel.installed()


@pytest.fixture(scope="module")
def theirs():
    return Magika(prediction_mode=PredictionMode.BEST_GUESS)


@pytest.fixture(scope="module")
def session(model):
    return onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])


def test_features_give_the_labels_of_the_package_magika(model, theirs, session, tmp_path):
    """Label and confidence agree on the demo's files: text, code, archives, media, executables."""
    labels = set()
    for name, path in sample_files(tmp_path, model.path):
        tokens = model.features(path)
        assert tokens is not None, name
        verdict = model.verdict(session.run(["target_label"], {"bytes": tokens})[0])
        expected = theirs.identify_path(path)
        assert verdict.label == expected.dl.label, name
        assert verdict.confidence == pytest.approx(expected.score, abs=1e-6), name
        labels.add(verdict.label)
    assert len(labels) >= 12


@pytest.mark.parametrize(
    "content",
    [
        b"12345678",
        b"  \n\t hello, world  \n",
        b"a" * 1024,
        b"\n" * 3000 + b"b" * 3000,
        bytes(range(256)) * 40,
        b" " * 5000 + b"late",
        b"early" + b" " * 5000,
    ],
)
def test_features_treat_white_space_and_long_files_as_the_package_magika(
    model, theirs, session, tmp_path, content
):
    """At the edges of its rules it gives the same answer, or None where magika does not run its model."""
    path = tmp_path / "file"
    path.write_bytes(content)
    expected = theirs.identify_path(path)
    tokens = model.features(path)
    if tokens is None:
        assert expected.dl.label == "undefined"
        return
    verdict = model.verdict(session.run(["target_label"], {"bytes": tokens})[0])
    assert (verdict.label, verdict.confidence) == (expected.dl.label, pytest.approx(expected.score, abs=1e-6))


def test_features_of_a_short_file_are_none(model, tmp_path):
    """Fewer than 8 bytes say nothing, and neither does white space."""
    for content in (b"", b"short", b" " * 100):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert model.features(path) is None
    assert (ROOT / "README.md").exists()
