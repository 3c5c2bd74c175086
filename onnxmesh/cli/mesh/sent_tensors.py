"""Large tensors sent to other hosts: their encodings and bytes, as a table and as JSON."""

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
    """Returns one row for each link that carried large tensors: its throughput, the encodings used, and the share saved.

    Args:
        status: The counters of the workers.
        table: The counters of the gateway that answered.

    Returns:
        None if no large tensor was sent to another host.
    """
    rows = Table("from", "to", title="Large tensors to other hosts")
    rows.add_column("link", justify="right")
    rows.add_column("encoding")
    rows.add_column("saved", justify="right")
    for worker in status.workers:
        links = {link.node: link.bytes_per_s for link in worker.load.links}
        _add(rows, worker.id, worker.load.sent, links)
    if table is not None:
        _add(rows, table.gateway, table.sent, {})
    return rows if rows.row_count else None


def sent_documents(sent: Iterable[SentTensors]) -> list[dict[str, Any]]:
    """Returns the counters of one process as plain values for JSON."""
    return [
        {
            "peer": each.peer,
            "encoding": each.encoding,
            "tensor_bytes": each.tensor_bytes,
            "wire_bytes": each.wire_bytes,
        }
        for each in sent
    ]


def _add(rows: Table, source: str, sent: Iterable[SentTensors], links: Mapping[str, int]) -> None:
    for peer, grouped in groupby(sorted(sent, key=_by_peer), key=lambda each: each.peer):
        found = list(grouped)
        encodings = [f"{each.encoding}: {_bytes(each)}" for each in found]
        whole = sum(each.tensor_bytes for each in found)
        saved = 1 - sum(each.wire_bytes for each in found) / whole if whole else 0.0
        bytes_per_s = links.get(peer, 0)
        rows.add_row(
            escape(source),
            escape(peer),
            f"{decimal(bytes_per_s)}/s" if bytes_per_s else "",
            "\n".join(encodings),
            f"{saved:.0%}",
        )


def _by_peer(sent: SentTensors) -> tuple[str, int]:
    return sent.peer, -sent.tensor_bytes


def _bytes(sent: SentTensors) -> str:
    plain, wire = decimal(sent.tensor_bytes), decimal(sent.wire_bytes)
    return plain if sent.tensor_bytes == sent.wire_bytes else f"{plain} as {wire}"
