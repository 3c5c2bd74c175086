"""What the tests over several hosts need."""

from __future__ import annotations

import pytest

from tests.namespaces.network import demanded


@pytest.fixture(autouse=True)
def _hosts_can_be_had():
    demanded()
