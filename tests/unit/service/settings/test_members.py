"""Settings of the schedulers that a service registers with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from onnxmesh.service.settings.members import MemberSettings


def test_schedulers_are_separated_by_commas():
    assert MemberSettings().schedulers == ()
    assert MemberSettings(scheduler="a:1, b:2").schedulers == ("a:1", "b:2")


@pytest.mark.parametrize("scheduler", ["", "a", "a:1,", "a:1;b"])
def test_scheduler_is_validated(scheduler):
    with pytest.raises(ValidationError):
        MemberSettings(scheduler=scheduler)


def test_scheduler_without_a_port_is_answered_with_that_of_schedulers():
    """Not with that of gateways, where no worker can register."""
    with pytest.raises(ValidationError, match=r"the port is missing, as in scheduler\.example:8010"):
        MemberSettings(scheduler="scheduler.example")
