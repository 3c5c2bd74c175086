"""Settings of a worker."""

from __future__ import annotations

from socket import gethostname

import pytest
from pydantic import ValidationError

from services.worker.settings import WorkerSettings


def test_worker_settings_parse_tags_and_refuse_nonsense():
    """Tags are separated by commas; the default id is unique."""
    settings = WorkerSettings(tags="edge, spot,,")
    assert settings.tags == ("edge", "spot")
    assert settings.id.startswith("worker-")
    assert settings.id != WorkerSettings().id
    for wrong in ({"id": "a b"}, {"scheduler": "nowhere"}, {"threads": 0}, {"queue_size": 0}):
        with pytest.raises(ValidationError):
            WorkerSettings(**wrong)


def test_worker_settings_of_zone_and_region_override_tags():
    """Tags `zone=` and `region=` count where the settings are empty."""

    def place(**settings):
        return WorkerSettings(_cli_parse_args=False, tags="zone=tagged,region=r,spot", **settings).place()

    host = {"host": gethostname()}
    assert place() == {"zone": "tagged", "region": "r"} | host
    assert place(zone="set") == {"zone": "set", "region": "r"} | host


@pytest.mark.parametrize(("setting", "spins"), [("on", True), ("off", False)])
def test_worker_settings_override_automatic_spinning(setting, spins):
    """Whatever the cores."""
    assert WorkerSettings(spinning=setting).spins(1) is spins
