"""The data path of a gateway: streams to workers, routing, the layers of the request path, sharing with other gateways."""

from __future__ import annotations

from random import Random

from onnxmesh.ids import WorkerId
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link.links import LinkEvents, Links
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.request_path import RequestPath
from services.gateway.routes.router import Router
from services.gateway.routes.session_affinity import SessionAffinity
from services.gateway.settings import GatewaySettings
from services.gateway.sharing.sharing import Sharing


class DataPath:
    """Wires the parts that a request passes, and dispatches the events of links to router, dispatcher and sharing.

    Attributes:
        compressor: Compresses tensors for slow links.
        links: Streams to workers; enter and leave it as a context manager.
        router: Picks routes.
        dispatcher: Runs attempts.
        requests: The layers that run a request.
        sharing: Exchanges state with other gateways.

    Args:
        settings: Of the gateway.
        generation: Grows with every start of it.
    """

    def __init__(self, settings: GatewaySettings, generation: int) -> None:
        self._id = settings.id
        live = settings.live_state(settings.id)
        self.compressor = Compressor(enabled=settings.compression == "auto")
        self.links = Links(
            settings.id,
            generation,
            self._on_frame,
            events=LinkEvents(on_lost=self._on_lost, on_suspicion=self._on_suspicion),
            same_host=settings.same_host,
        )
        self.router = Router(
            settings.id,
            self.links,
            rng=Random(),
            locality=Locality.of(labels_of((), settings.place())),
            sessions=SessionAffinity(live, settings.session_ttl_s),
        )
        self.dispatcher = Dispatcher(
            settings.id,
            self.links,
            self.router,
            max_attempts=settings.max_attempts,
            compressor=self.compressor,
            # Workers may still know requests of an earlier process with this id.
            first_number=generation,
        )
        self.requests = RequestPath(
            self.dispatcher, self.router, split=settings.micro_batches, coalesce=settings.gathering
        )
        self.sharing = Sharing(settings.id, live, self.router)

    def update(self, table: RoutingTable, changes: TableDifference) -> None:
        """Applies a new route table.

        Args:
            table: The table in force from now on.
            changes: Its difference from the previous one.
        """
        self.requests.update(table, changes)

    def _on_frame(self, link: Link, frame: Frame) -> None:
        worker = WorkerId(link.peer)
        if frame.header.WhichOneof("kind") == "load":
            self.sharing.observe_load(worker, frame.header.load)
            if (estimate := link.estimate) is not None:
                measured = MeasuredLink(estimate.rtt_s, estimate.bytes_per_s)
                self.router.observe_link(self._id, worker, measured)
        self.dispatcher.on_frame(worker, frame)

    def _on_lost(self, link: Link) -> None:
        self.dispatcher.on_lost(WorkerId(link.peer), link)
        if self.links.get(link.peer) is None:
            self.compressor.remove_peer(link.peer)

    def _on_suspicion(self, link: Link) -> None:
        self.dispatcher.on_suspicion(WorkerId(link.peer), link)
