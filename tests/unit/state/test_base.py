"""Name and version of a deployment are those of its specification."""

from __future__ import annotations

from tests.fakes.stored_deployment import deployment


def test_deployment_has_name_and_version_of_its_spec():
    each = deployment("n", 3)
    assert (each.name, each.version) == ("n", 3)
