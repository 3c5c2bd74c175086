"""What processes sent to other hosts, and in how many bytes, as people and programs are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.v1.frame_pb2 import SentTensors
from onnxmesh.v1.mesh_pb2 import StatusResponse, TableResponse


def sent_table(status: StatusResponse, table: TableResponse | None = None) -> Table | None:
    """Returns a row for each way that large tensors went by: how they were written, and what that spared.

    Args:
        status: Has what workers sent.
        table: Has what the gateway that was asked sent.

    Returns:
        None where nothing large went to another host.
    """
    drawn = Table("from", "to", title="Large tensors to other hosts")
    drawn.add_column("way", justify="right")
    drawn.add_column("written as")
    drawn.add_column("saved", justify="right")
    for worker in status.workers:
        ways = {way.node: way.bytes_per_s for way in worker.load.links}
        _add(drawn, worker.id, worker.load.sent, ways)
    if table is not None:
        _add(drawn, table.gateway, table.sent, {})
    return drawn if drawn.row_count else None


def sent_documents(sent: Iterable[SentTensors]) -> list[dict[str, Any]]:
    """Returns the same of one process as JSON has it."""
    return [
        {
            "peer": each.peer,
            "encoding": each.encoding,
            "tensor_bytes": each.tensor_bytes,
            "wire_bytes": each.wire_bytes,
        }
        for each in sent
    ]


def _add(drawn: Table, source: str, sent: Iterable[SentTensors], ways: Mapping[str, int]) -> None:
    for peer, grouped in groupby(sorted(sent, key=_by_peer), key=lambda each: each.peer):
        found = list(grouped)
        written = [f"{each.encoding}: {_bytes(each)}" for each in found]
        whole = sum(each.tensor_bytes for each in found)
        saved = 1 - sum(each.wire_bytes for each in found) / whole if whole else 0.0
        bytes_per_s = ways.get(peer, 0)
        drawn.add_row(
            escape(source),
            escape(peer),
            f"{decimal(bytes_per_s)}/s" if bytes_per_s else "",
            "\n".join(written),
            f"{saved:.0%}",
        )


def _by_peer(sent: SentTensors) -> tuple[str, int]:
    return sent.peer, -sent.tensor_bytes


def _bytes(sent: SentTensors) -> str:
    plain, wire = decimal(sent.tensor_bytes), decimal(sent.wire_bytes)
    return plain if sent.tensor_bytes == sent.wire_bytes else f"{plain} as {wire}"
