"""Routing derives kind, locality and CPU class from tags and attributes."""

from __future__ import annotations

from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.worker_facts import WorkerFacts


def test_worker_facts_derive_kind_and_locality():
    facts = WorkerFacts(("zone=eu",), {"device": "cuda", "gpu.model": "H100", "cpu.class": "v4"})
    assert facts.kind == "/cuda/v4/H100"
    assert facts.locality == Locality("", "eu")
    assert facts.labels["gpu.model"] == ("H100",)


def test_cpu_class_is_empty_where_stages_run_on_another_device():
    assert WorkerFacts((), {"device": "cpu", "cpu.class": "v4"}).cpu_class == "v4"
    assert WorkerFacts((), {"device": "cuda", "cpu.class": "v4"}).cpu_class == ""
