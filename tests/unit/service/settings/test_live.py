"""Settings of the Redis by which services share live state."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.redis import RedisLiveState
from onnxmesh.service.settings.live import LiveSettings


def test_live_state_is_in_redis_where_a_url_is_set():
    assert isinstance(LiveSettings().live_state("g"), EmbeddedLiveState)
    settings = LiveSettings(redis="redis://:secret@host:6379/0")
    assert isinstance(settings.live_state("g"), RedisLiveState)
    assert "secret" not in repr(settings)


def test_redis_url_is_validated():
    with pytest.raises(ValidationError):
        LiveSettings(redis="http://host")
