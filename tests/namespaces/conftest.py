"""Requirements of the tests on several hosts."""

from __future__ import annotations

import pytest

from tests.namespaces.network import require_namespaces


@pytest.fixture(autouse=True)
def _namespaces_required():
    require_namespaces()
