"""All links of one process, one for each peer: connected, accepted, kept up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any

import grpc
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.connector import Connection, Connector, UnixConnection
from onnxmesh.rpc.link.link import DISCONNECT_TIMEOUT_S, Link
from onnxmesh.rpc.link.pipe import Pipe
from onnxmesh.rpc.link.stage_stream import Answer, stage_stream_handler
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.rpc.same_host.payload_memory import PayloadMemory
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from onnxmesh.rpc.same_host.unix_connector import UnixConnector
from onnxmesh.rpc.same_host.unix_listener import UnixListener
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket

_RECONNECT_DELAY_S = 0.1

_log = structlog.get_logger(__name__)


def _ignore(_: Link) -> None:
    """Default of the callbacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEvents:
    """Callbacks for changes of a process's links. Called on the event loop; must not block.

    Attributes:
        on_up: Called with each link once frames can be sent on it.
        on_lost: Called once with each link that has ended, in order or not.
        on_suspicion: Called with each link whose `is_suspect` has changed.
    """

    on_up: Callable[[Link], None] = _ignore
    on_lost: Callable[[Link], None] = _ignore
    on_suspicion: Callable[[Link], None] = _ignore


class Links:
    """The links between this process and its peers, one for each peer.

    An async context manager: its exit sends a Goodbye on every link and closes all connections.

    Args:
        node: Worker id or gateway id of this process.
        generation: Start number of this process; grows with every start.
        on_frame: Called with each frame of any peer; must not block.
        events: Callbacks for changes of links.
        clock: Seconds, monotonic.
        limits: Sizes and times of every link.
        same_host: Whether peers of this host are connected over Unix sockets and shared memory.
    """

    def __init__(
        self,
        node: str,
        generation: int,
        on_frame: Callable[[Link, Frame], None],
        *,
        events: LinkEvents = LinkEvents(),
        clock: Clock = monotonic,
        limits: LinkLimits = LinkLimits(),  # noqa: B008 - frozen
        same_host: bool = True,
    ) -> None:
        self._hello = Hello(node=node, generation=generation)
        self._unix_listener: UnixListener | None = None
        unix_connector: UnixConnector | None = None
        if same_host:
            memory = PayloadMemory()
            self._unix_listener = UnixListener(self._hello, memory, self._unix_accepted)
            unix_connector = UnixConnector(self._hello, memory)
        self._connector = Connector(self._hello, unix_connector)
        self._on_frame = on_frame
        self._events = events
        self._clock = clock
        self._limits = limits
        self._random = Random()
        self._links: dict[str, Link] = {}
        self._connecting: dict[tuple[str, str], asyncio.Task[Link | MeshError]] = {}
        self._kept: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[Any]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> Links:
        await self._tasks.__aenter__()
        if self._unix_listener is not None and self._unix_listener.open():
            self._listening = self._tasks.create_task(self._unix_listener.run())
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self._closing = True
        if self._unix_listener is not None and self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._unix_listener.close()
        for link in list(self._links.values()):
            link.disconnect()
        for _, task in self._kept.values():
            task.cancel()
        for connecting in self._connecting.values():
            connecting.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=DISCONNECT_TIMEOUT_S)
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(*failure)

    def get(self, peer: str) -> Link | None:
        """Returns the open link to `peer`, whichever side connected, or None."""
        link = self._links.get(peer)
        return link if link is not None and link.is_open else None

    async def connect(self, peer: str, address: str) -> Link:
        """Returns the link to `peer`; connects to `address` where there is none. Concurrent callers share one attempt.

        Raises:
            Unavailable: No answer in time, or another node answers (UNAVAILABLE).
        """
        link = self.get(peer)
        if link is not None:
            return link
        key = (peer, address)
        connecting = self._connecting.get(key)
        if connecting is None:
            connecting = self._tasks.create_task(self._connect(peer, address))
            self._connecting[key] = connecting
            connecting.add_done_callback(lambda _: self._connecting.pop(key, None))
        try:
            outcome = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled():
                raise Unavailable(f"connecting to {peer} at {address} was cancelled") from None
            raise
        if isinstance(outcome, MeshError):
            # A new error for each caller: the task keeps its own, whose traceback would keep the callers' tensors.
            raise Unavailable(outcome.message)
        return outcome

    def keep(self, peers: Mapping[str, str], removed: Iterable[str] = ()) -> None:
        """Keeps links to more peers up: connects, and connects again whenever one is lost.

        Args:
            peers: Id to address; the link of a peer that was kept at another address is disconnected.
            removed: Peers whose links are kept no longer and disconnected.
        """
        for peer in (*removed, *peers):
            address, task = self._kept.get(peer, ("", None))
            if task is not None and peers.get(peer) != address:
                task.cancel()
                del self._kept[peer]
                if (link := self.get(peer)) is not None:
                    link.disconnect()
        for peer, address in peers.items():
            if peer not in self._kept:
                self._kept[peer] = (address, self._tasks.create_task(self._keep(peer, address)))

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler that accepts links; add it to the process's server."""
        return stage_stream_handler(self._hello, self._serve_accepted, self._unix_address)

    async def _keep(self, peer: str, address: str) -> None:
        while not self._closing:
            try:
                link = await self.connect(peer, address)
                await link.closed.wait()
            except MeshError as error:
                _log.info("peer_not_reached", peer=peer, address=address, error=error.message)
            # A peer that accepts and disconnects must not be connected in a tight loop.
            await asyncio.sleep(_RECONNECT_DELAY_S)

    async def _connect(self, peer: str, address: str) -> Link | MeshError:
        # An error that left a task would end every other link of the group.
        try:
            connection = await self._connector.connect(peer, address)
        except MeshError as error:
            return error
        return self._start(connection)

    def _unix_accepted(self, pipe: SocketPipe, hello: Hello) -> None:
        self._start(UnixConnection(pipe, hello))

    def _unix_address(self) -> UnixSocket:
        return UnixSocket() if self._unix_listener is None else self._unix_listener.address

    async def _serve_accepted(self, pipe: Pipe, hello: Hello, answer: Answer) -> None:
        # The link is registered before the Hello leaves: the peer may count on replies from then on.
        await self._run(self._add_link(pipe, hello), answer)

    def _start(self, connection: Connection) -> Link:
        """Returns the link of a connection, run by a task of this object."""
        link = self._add_link(connection.pipe, connection.hello)
        self._tasks.create_task(self._serve(link, connection))
        return link

    async def _serve(self, link: Link, connection: Connection) -> None:
        try:
            await self._run(link)
            await connection.finish()
        finally:
            await connection.close()

    def _add_link(self, pipe: Pipe, hello: Hello) -> Link:
        link = Link(
            pipe,
            hello.node,
            hello.generation,
            on_frame=self._on_frame,
            on_suspicion=self._events.on_suspicion,
            clock=self._clock,
            limits=self._limits,
            draw=self._random.random,
        )
        # The newest link serves; an older one to the same peer, if any, ends by itself.
        self._links[link.peer] = link
        self._events.on_up(link)
        return link

    async def _run(self, link: Link, answer: Answer | None = None) -> None:
        error: MeshError | None = None
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            if answer is not None:
                await answer()
            error = await link.run()
        except Unavailable as failure:
            error = failure
        except Exception as defect:  # noqa: BLE001 - one on one stream must not end the others
            _log.error("link_failed", peer=link.peer, exc_info=defect)
        finally:
            self._running.discard(task)
            if self._links.get(link.peer) is link:
                del self._links[link.peer]
            if error is not None and not self._closing:
                _log.warning("link_lost", peer=link.peer, error=error.message)
            self._events.on_lost(link)
