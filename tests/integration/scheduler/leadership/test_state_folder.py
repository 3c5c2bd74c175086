"""The state folder belongs to one scheduler."""

from __future__ import annotations

import pytest

from onnxmesh.errors import Conflict
from services.scheduler.app import scheduler_app


async def test_state_folder_is_locked_against_a_second_scheduler(settings):
    async with scheduler_app(settings):
        with pytest.raises(Conflict, match="another scheduler uses"):
            async with scheduler_app(settings):
                pass
