"""How long a run measures, and against whom."""

from __future__ import annotations

import json

from benchmarks.settings import RIVALS, Settings


def test_quick_settings_install_nothing():
    """It is short, with Triton as the only rival; the folder of environments is unchanged."""
    settings = Settings(ready_made=True)
    quick = settings.quick()
    assert quick.rivals == ("triton",)
    assert not quick.install
    assert quick.seconds * quick.num_rounds < settings.seconds * settings.num_rounds
    assert (quick.root, quick.ready_made) == (settings.root, True)


def test_settings_document_has_durations_and_rivals():
    """And nothing of the machine's folders."""
    document = json.loads(json.dumps(Settings().document()))
    assert document["rivals"] == list(RIVALS)
    assert "root" not in document
