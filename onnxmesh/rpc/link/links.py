"""All the links of one process: dialled, accepted, kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from random import Random
from time import monotonic
from typing import Any

import grpc
import grpc.aio
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.rpc.frames.frames import Frame, encode_envelope
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.link.grpc_pipe import AcceptedPipe, DialledPipe
from onnxmesh.rpc.link.hello import read_hello
from onnxmesh.rpc.link.link import DISCONNECT_TIMEOUT_S, Link
from onnxmesh.rpc.link.pipe import Pipe
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from onnxmesh.rpc.same_host.unix_listener import UnixListener
from onnxmesh.v1.frame_pb2 import FrameHeader, Hello, UnixSocket

SERVICE = "onnxmesh.v1.StageStream"
METHOD = f"/{SERVICE}/Exchange"
FIND_UNIX_SOCKET = f"/{SERVICE}/FindDoor"

CONNECT_TIMEOUT_S = 2.0
"""A peer that is alive answers a Hello in far less."""

_log = structlog.get_logger(__name__)

OnFrame = Callable[[Link, Frame], None]
OnChange = Callable[[Link], None]


def _nothing(_: Link) -> None:
    """Default of the callbacks."""


class Links:
    """The streams between this process and its peers, one for each peer.

    Use as an async context manager: leaving it says Goodbye on every link and closes all channels.

    Args:
        node: This process's worker id or gateway id.
        generation: Grows with every start of it.
        on_frame: Called with each frame of any peer; must not block.
        on_up: Called with each link once frames can be sent on it.
        on_lost: Called once with each link that ended, Goodbye or not.
        on_suspicion: Called with each link whose peer has become suspect, or is heard again: see `Link.is_suspect`.
        clock: Seconds, monotonic.
        limits: Sizes and times of every link.
        same_host: Whether peers on this host are reached through a socket and shared memory.
    """

    def __init__(
        self,
        node: str,
        generation: int,
        on_frame: OnFrame,
        *,
        on_up: OnChange = _nothing,
        on_lost: OnChange = _nothing,
        on_suspicion: OnChange = _nothing,
        clock: Clock = monotonic,
        limits: LinkLimits = LinkLimits(),  # noqa: B008 - frozen
        same_host: bool = True,
    ) -> None:
        self._door = UnixListener(node, generation, self._entered) if same_host else None
        self._hello = encode_envelope([Frame(FrameHeader(hello=Hello(node=node, generation=generation)))])
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_lost = on_lost
        self._on_suspicion = on_suspicion
        self._clock = clock
        self._limits = limits
        self._random = Random()
        self._links: dict[str, Link] = {}
        self._dials: dict[tuple[str, str], asyncio.Task[Link | MeshError]] = {}
        self._kept: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[Any]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> Links:
        await self._tasks.__aenter__()
        if self._door is not None and self._door.open():
            self._listening = self._tasks.create_task(self._door.run())
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self._closing = True
        if self._door is not None and self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._door.close()
        for link in list(self._links.values()):
            link.disconnect()
        for _, task in self._kept.values():
            task.cancel()
        for dial in self._dials.values():
            dial.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=DISCONNECT_TIMEOUT_S)
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(*failure)

    def get(self, peer: str) -> Link | None:
        """Returns the open link to `peer`, whoever dialled it, or None."""
        link = self._links.get(peer)
        return link if link is not None and link.is_open else None

    async def connect(self, peer: str, address: str) -> Link:
        """Returns the link to `peer`; dials `address` where there is none.

        Raises:
            Unavailable: Nobody answers there in time, or somebody else does (UNAVAILABLE).
        """
        link = self.get(peer)
        if link is not None:
            return link
        key = (peer, address)
        dial = self._dials.get(key)
        if dial is None:
            dial = self._tasks.create_task(self._try_dial(peer, address))
            self._dials[key] = dial
            dial.add_done_callback(lambda _: self._dials.pop(key, None))
        try:
            outcome = await asyncio.shield(dial)
        except asyncio.CancelledError:
            if dial.cancelled():
                raise Unavailable(f"dialling {peer} at {address} was given up") from None
            raise
        if isinstance(outcome, MeshError):
            # One of its own for each caller: the dial keeps its outcome, whose traceback would keep what they wanted to send.
            raise Unavailable(outcome.message)
        return outcome

    def keep(self, peers: Mapping[str, str], removed: Iterable[str] = ()) -> None:
        """Holds links to these peers, too: dials, and dials again when one is lost.

        Args:
            peers: Id to address; one that was kept at another address is left there.
            removed: Peers that are kept no longer. Links that peers opened stay as they are.
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
        accept: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._accept)
        show: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(self._advertise_unix)
        methods = {METHOD: accept, FIND_UNIX_SOCKET: show}
        return grpc.method_handlers_generic_handler(
            SERVICE, {method.rpartition("/")[2]: handler for method, handler in methods.items()}
        )

    async def _keep(self, peer: str, address: str) -> None:
        while not self._closing:
            try:
                link = await self.connect(peer, address)
                await link.closed.wait()
            except MeshError as error:
                _log.info("peer_not_reached", peer=peer, address=address, error=error.message)
            # The channel that dialled is gone; its successor gets a moment, so that a peer which accepts
            # and hangs up is not dialled in a tight loop.
            await asyncio.sleep(0.1)

    async def _try_dial(self, peer: str, address: str) -> Link | MeshError:
        # An error that left a task would end every other link of the group.
        try:
            return await self._dial(peer, address)
        except MeshError as error:
            return error

    async def _dial(self, peer: str, address: str) -> Link:
        channel = open_channel(address)
        try:
            link = await self._connect_unix(peer, address, channel)
            if link is not None:
                await channel.close()
                return link
            call: Any = channel.stream_stream(METHOD)()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await call.write(self._hello)
                first = await call.read()
            node, generation = read_hello(None if first is grpc.aio.EOF else first, f"{peer} at {address}")
            if node != peer:
                raise Unavailable(f"expected {peer} at {address}, found {node}")
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            await channel.close()
            why = (
                error.details()
                if isinstance(error, grpc.aio.AioRpcError)
                else f"no answer in {CONNECT_TIMEOUT_S:g} s"
            )
            raise Unavailable(f"{peer} at {address} cannot be reached: {why}") from error
        except BaseException:
            await channel.close()
            raise
        link = self._link(DialledPipe(call), node, generation)
        self._tasks.create_task(self._run_dialled(link, call, channel))
        return link

    async def _run_dialled(self, link: Link, call: Any, channel: grpc.aio.Channel) -> None:
        try:
            await self._run(link)
            # Ends the stream in order: cancelling a call throws away what it has not sent yet.
            async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    pass
        except (TimeoutError, grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            pass
        finally:
            call.cancel()
            await channel.close()

    async def _connect_unix(self, peer: str, address: str, channel: grpc.aio.Channel) -> Link | None:
        """Returns a link that does without gRPC, None where the peer is not on this host.

        Raises:
            Unavailable: Somebody else is there (UNAVAILABLE).
        """
        if self._door is None:
            return None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            try:
                find: Any = channel.unary_unary(FIND_UNIX_SOCKET)
                answer: bytes = await find(b"")
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return None
                raise
        entered = await self._door.enter(UnixSocket.FromString(answer))
        if entered is None:
            return None
        pipe, hello = entered
        if hello.node != peer:
            pipe.close()
            raise Unavailable(f"expected {peer} at {address}, found {hello.node}")
        return self._entered(pipe, hello)

    def _entered(self, pipe: SocketPipe, hello: Hello) -> Link:
        link = self._link(pipe, hello.node, hello.generation)
        self._tasks.create_task(self._run_entered(link, pipe))
        return link

    async def _run_entered(self, link: Link, pipe: SocketPipe) -> None:
        try:
            await self._run(link)
        finally:
            pipe.close()

    async def _advertise_unix(self, _: bytes, context: Any) -> bytes:
        address = UnixSocket() if self._door is None else self._door.address
        return address.SerializeToString()

    async def _accept(self, _: Any, context: Any) -> None:
        first = await context.read()
        node, generation = read_hello(None if first is grpc.aio.EOF else first, context.peer())
        await context.write(self._hello)
        await self._run(self._link(AcceptedPipe(context), node, generation))

    def _link(self, pipe: Pipe, node: str, generation: int) -> Link:
        link = Link(
            pipe,
            node,
            generation,
            self._on_frame,
            on_suspicion=self._on_suspicion,
            clock=self._clock,
            limits=self._limits,
            draw=self._random.random,
        )
        # The newest link serves; an older one to the same peer, if any, runs out by itself.
        self._links[node] = link
        self._on_up(link)
        return link

    async def _run(self, link: Link) -> None:
        error: MeshError | None = None
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            error = await link.run()
        except Exception as defect:  # noqa: BLE001 - one on one stream must not end the others
            _log.error("link_failed", peer=link.peer, exc_info=defect)
        finally:
            self._running.discard(task)
            if self._links.get(link.peer) is link:
                del self._links[link.peer]
            if error is not None and not self._closing:
                _log.warning("link_lost", peer=link.peer, error=error.message)
            self._on_lost(link)
