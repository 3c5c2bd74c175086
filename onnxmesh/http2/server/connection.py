"""One client's connection: an asyncio protocol around the session and its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.connection_state import ConnectionState, DrainState
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, NotHttp2
from onnxmesh.http2.protocol.send_queue import SendQueue
from onnxmesh.http2.protocol.stream_state import ImpossibleTransition
from onnxmesh.http2.server.calls import Calls
from onnxmesh.http2.server.plain_answers import answer_to_http1, is_http1_possible
from onnxmesh.http2.server.request_receiver import RequestReceiver
from onnxmesh.http2.server.service import Service
from onnxmesh.http2.server.transport_writer import TransportWriter

WRITE_BUFFER_BYTES = 1 << 20
"""Bytes that may wait in the transport of a client that does not read, before responses wait in the send queue."""

_log = structlog.get_logger(__name__)


class Http2Connection(asyncio.Protocol):
    """Connection of one client: transport, timers, shutdown. Belongs to one event loop.

    Args:
        service: Handlers and limits.
        on_opened: Is called when the connection is established.
        on_closed: Is called when it is closed.
    """

    def __init__(
        self,
        service: Service,
        on_opened: Callable[[Http2Connection], object],
        on_closed: Callable[[Http2Connection], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = service.limits
        self._on_opened = on_opened
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._abuse_guard = AbuseGuard(service.limits.abuse)
        self._writer = TransportWriter(self._loop)
        self._send_queue = SendQueue(self._writer, self._abuse_guard)
        self._calls = Calls(service, self._writer, self._send_queue, on_removed=self._close_if_drained)
        self._send_queue.on_end_stream = self._calls.stream_ended
        self._session = ConnectionState(
            service.limits,
            self._writer,
            self._send_queue,
            abuse_guard=self._abuse_guard,
            streams=RequestReceiver(service, self._calls, self._send_queue, abuse_guard=self._abuse_guard),
            shutdown=self,
        )
        self._is_refused = False
        self._preface_timer: asyncio.TimerHandle | None = None
        self._shutdown_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    # Events of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the timers; the server's preface follows the client's."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        name = transport.get_extra_info("peername")
        self._calls.peer = _address_text(name)
        self._calls.set_address(_address_text(transport.get_extra_info("sockname")))
        self._writer.open(self._transport)
        abuse = self._limits.abuse
        self._preface_timer = self._loop.call_later(abuse.preface_s, self._check_preface)
        self._stall_timer = self._loop.call_later(abuse.stall_s, self._check_stall)
        self._on_opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels all calls and timers."""
        self._transport = None
        self._close_output()
        for timer in (self._preface_timer, self._shutdown_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._calls.connection_lost()
        self._on_closed(self)

    def pause_writing(self) -> None:
        """Stops sending data: the client does not read."""
        self._send_queue.pause()

    def resume_writing(self) -> None:
        """Sends what waited: the client reads again."""
        self._abuse_guard.record_reading()
        self._send_queue.resume()

    def data_received(self, data: bytes) -> None:
        """Handles bytes of the client."""
        if self._transport is None or self._is_refused or self._transport.is_closing():
            return
        try:
            self._session.receive(data)
        except NotHttp2 as error:
            _log.debug("not_http2", peer=self._calls.peer, error=str(error))
            self._refuse(error.first_bytes, self._transport)
        except ConnectionFault as fault:
            self._fail(fault)

    def _refuse(self, first_bytes: bytes, transport: asyncio.Transport) -> None:
        """Answers a client of another protocol, if that is known, and closes the connection.

        What it sends meanwhile is read and dropped, for at most `settle_s`: the kernel would discard the answer if the connection were
        closed before that.
        """
        if is_http1_possible(first_bytes):
            return  # more of its first word is to come
        answer = answer_to_http1(first_bytes, self._calls.spoken)
        if answer is None:
            transport.abort()
            return
        self._is_refused = True
        self._close_output()
        transport.write(answer)
        if transport.can_write_eof():
            transport.write_eof()
        self._shutdown_timer = self._loop.call_later(self._limits.settle_s, transport.abort)

    # Timers.

    def _check_preface(self) -> None:
        if self._transport is not None and not self._session.has_peer_settings:
            self._transport.abort()

    def _check_stall(self) -> None:
        try:
            self._abuse_guard.check_stall(is_blocked=self._send_queue.is_blocked)
        except ConnectionFault as fault:
            if self._transport is not None and not self._transport.is_closing():
                self._fail(fault)
        else:
            self._stall_timer = self._loop.call_later(self._limits.abuse.stall_s, self._check_stall)

    # Shutdown.

    def drain(self) -> None:
        """Begins a graceful shutdown: requests that the client has sent are served, then the connection is closed."""
        if self._session.drain_state is DrainState.SERVING and self._transport is not None:
            self._session.announce_drain()
            self._shutdown_timer = self._loop.call_later(self._limits.settle_s, self._finish_drain)

    def abort(self, message: str) -> None:
        """Ends every call at once as UNAVAILABLE, and closes the connection."""
        if self._transport is not None:
            self._calls.abort(message)
        if self._transport is not None:
            self._go_away(ErrorCode.NO_ERROR, message)

    def goaway_received(self) -> None:
        """Begins a graceful shutdown: the client will send no more requests."""
        self.drain()

    def drain_acknowledged(self) -> None:
        """Accepts no more requests: the client has received the first GOAWAY."""
        self._finish_drain()

    def _finish_drain(self) -> None:
        """Accepts no more requests: the client has received the first GOAWAY, or had `settle_s` to do so."""
        transport = self._transport
        if self._session.drain_state is DrainState.FINAL or transport is None or transport.is_closing():
            return
        if self._shutdown_timer is not None:
            self._shutdown_timer.cancel()
        self._session.finish_drain()
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if (
            self._session.drain_state is DrainState.FINAL
            and not self._calls.by_id
            and self._transport is not None
        ):
            self._close(self._transport)

    def _fail(self, fault: ConnectionFault) -> None:
        """Ends the connection after an error of the client, or an impossible transition of a stream."""
        log = _log.error if isinstance(fault, ImpossibleTransition) else _log.debug
        log("connection_refused", peer=self._calls.peer, code=fault.code.name, error=fault.message)
        self._go_away(fault.code, fault.message)

    def _go_away(self, code: ErrorCode, message: str) -> None:
        assert self._transport is not None
        self._session.send_goaway(code, message)
        self._close(self._transport)

    def _close(self, transport: asyncio.Transport) -> None:
        """Closes the connection once the client has received everything, or after `settle_s`."""
        if not transport.is_closing():
            self._writer.flush()
            self._close_output()
            transport.close()
            self._shutdown_timer = self._loop.call_later(self._limits.settle_s, transport.abort)

    def _close_output(self) -> None:
        self._writer.close()
        self._send_queue.close()


def _address_text(name: object) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
