"""Large tensors sent to other hosts, as a table and as JSON."""

from __future__ import annotations

import io

from rich.console import Console

from onnxmesh.cli.mesh.sent_tensors import sent_documents, sent_table
from onnxmesh.cli.mesh.status_document import status_document
from onnxmesh.v1.frame_pb2 import LinkMeasurement, Load, SentTensors
from onnxmesh.v1.mesh_pb2 import StatusResponse, TableResponse, WorkerStatus

ZSTD = SentTensors(peer="b", encoding="zstd", tensor_bytes=3_000_000, wire_bytes=1_000_000)


PLAIN = SentTensors(peer="b", encoding="none", tensor_bytes=1_000_000, wire_bytes=1_000_000)


LOAD = Load(sent=[PLAIN, ZSTD], links=[LinkMeasurement(node="b", round_trip_us=900, bytes_per_s=12_500_000)])


STATUS = StatusResponse(workers=[WorkerStatus(id="a", load=LOAD), WorkerStatus(id="b")])


TABLE = TableResponse(
    gateway="g", sent=[SentTensors(peer="a", encoding="none", tensor_bytes=5, wire_bytes=5)]
)


def printed(table):
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(table)
    return out.getvalue()


def test_sent_table_has_encodings_and_savings_of_each_link():
    """Links of the workers and of the gateway; the encoding with the most bytes comes first."""
    lines = [" ".join(line.split()) for line in printed(sent_table(STATUS, TABLE)).splitlines()]
    (first,) = [line for line in lines if "a │ b" in line]
    assert first == "│ a │ b │ 12.5 MB/s │ zstd: 3.0 MB as 1.0 MB │ 50% │"
    assert lines[lines.index(first) + 1] == "│ │ │ │ none: 1.0 MB │ │"
    assert "│ g │ a │ │ none: 5 bytes │ 0% │" in lines


def test_sent_table_is_none_without_large_tensors():
    """A mesh on one host has no such table."""
    assert sent_table(StatusResponse(workers=[WorkerStatus(id="a")]), TableResponse(gateway="g")) is None


def test_sent_documents_have_the_same_bytes():
    """For each worker and for the gateway."""
    document = status_document(STATUS, TABLE)
    assert [worker["sent"] for worker in document["workers"]] == [sent_documents(LOAD.sent), []]
    assert document["workers"][0]["sent"][1] == {
        "peer": "b",
        "encoding": "zstd",
        "tensor_bytes": 3_000_000,
        "wire_bytes": 1_000_000,
    }
    assert document["gateway"]["sent"] == sent_documents(TABLE.sent)
