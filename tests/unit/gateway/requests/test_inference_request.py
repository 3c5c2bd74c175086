"""An inference request on its way through the gateway."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from onnxmesh.deadline import Deadline
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.gateway.requests.inference_request import InferenceRequest


def test_derived_request_has_failures_of_its_own():
    """A micro-batch that fails does not add to the failures of the whole request, nor the reverse."""
    request = InferenceRequest(None, (), (), Deadline(inf))
    request.failures.append("failed")
    derived = replace(request, split_of=7)
    derived.failures.append("failed, too")
    assert (request.failures, derived.failures) == (["failed"], ["failed, too"])


def test_num_bytes_is_the_size_of_all_tensors():
    """Of an empty tensor nothing."""
    tensors = tuple(Tensor("x", Datatype.UINT8, (num,), bytes(num)) for num in (3, 0, 4))
    assert InferenceRequest(None, tensors, (), Deadline(inf)).num_bytes == 7
