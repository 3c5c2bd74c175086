"""A client rebuilds the class of an error from its reason."""

from __future__ import annotations

import grpc
import pytest

from onnxmesh.errors import REASONS, Internal, MeshError, Overloaded, StageNotHeld, Unavailable, from_reason


def subclasses(kind):
    return {kind} | {each for child in kind.__subclasses__() for each in subclasses(child)}


def test_reasons_has_every_error_class_once():
    assert set(REASONS.values()) == {
        each for each in subclasses(MeshError) - {MeshError} if each.__module__ == "onnxmesh.errors"
    }
    assert all(kind.reason == reason for reason, kind in REASONS.items())


@pytest.mark.parametrize("kind", REASONS.values())
def test_from_reason_rebuilds_the_class(kind):
    error = from_reason(kind.reason, "text", 1.5)
    assert type(error) is kind
    assert (error.message, str(error), error.retry_after_s) == ("text", "text", 1.5)


def test_from_reason_gives_internal_for_an_unknown_reason():
    error = from_reason("NEW_IN_A_LATER_RELEASE", "text")
    assert type(error) is Internal
    assert error.code is grpc.StatusCode.INTERNAL


def test_errors_are_retriable_only_where_a_replica_failed():
    retriable = {kind for kind in REASONS.values() if kind.retriable}
    assert {kind.__name__ for kind in retriable} == {
        "Overloaded",
        "Unavailable",
        "StageNotHeld",
        "CorruptData",
    }
    assert issubclass(StageNotHeld, Unavailable)
    assert Overloaded.code is grpc.StatusCode.RESOURCE_EXHAUSTED
