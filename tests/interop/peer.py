"""What the interoperability peers share beside the wire: QUIC streams of PDUs, and lines of JSON for the test."""

import asyncio
import json
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

import v2_wire
import wire
from wire import Decoder, Pdu, WireError

VERSIONS: dict[str, type[Pdu]] = {pdu.alpn: pdu for pdu in (wire.Pdu, v2_wire.Pdu)}  # ALPN alone decides

IDLE_TIMEOUT = 300.0  # longer than any test: QUIC must not end what the protocol's own timers are there to end
PING_INTERVAL = 2.0


class StreamReset(Exception):
    """The peer gave up sending on the stream."""


class ConnectionClosed(Exception):
    """The connection is gone, for the reason that QUIC gave."""

    def __init__(self, error_code: int, reason: str) -> None:
        super().__init__(f"connection closed with error {error_code}: {reason or 'no reason given'}")
        self.error_code = error_code


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def dribble(data: bytes) -> Iterator[bytes]:
    """Single bytes for as long as a header and control fields can be, then pieces that align with nothing."""
    singles = data[:64]
    yield from (bytes([byte]) for byte in singles)
    yield from (data[start : start + 1021] for start in range(len(singles), len(data), 1021))


class PduStream:
    """A bidirectional QUIC stream: PDUs come out, bytes go in, so that a script can send what is no valid PDU."""

    def __init__(self, connection: "PduConnection", stream_id: int, pdu: type[Pdu]) -> None:
        self.connection = connection
        self.pdu = pdu  # of the connection's version
        self.split: Callable[[bytes], Iterator[bytes]] = whole
        self._stream_id = stream_id
        self._decoder = Decoder(pdu)
        self._inbox: asyncio.Queue[Pdu | Exception | None] = asyncio.Queue()

    async def receive(self) -> Pdu | None:
        """Returns None once when the peer has finished the stream; raises what went wrong."""
        item = await self._inbox.get()
        if isinstance(item, Exception):
            raise item
        return item

    def send(self, data: bytes, fin: bool = False) -> None:
        """Sends each piece that `split` makes in a STREAM frame of its own, as far as congestion control lets it.

        Does nothing once the stream is finished: a script may go on after its peer has stopped listening.
        """
        for piece in self.split(data):
            self.connection.send_on(self._stream_id, piece)
        if fin:
            self.connection.send_on(self._stream_id, b"", fin=True)

    def reset(self, error_code: int) -> None:
        self.connection.reset(self._stream_id, error_code)

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self.connection.can_send_on(self._stream_id)

    async def drained(self) -> None:
        """Waits until the peer's QUIC has acknowledged everything sent, or never will."""
        while self.connection.has_unacknowledged(self._stream_id):
            await self.connection.progress()

    def received(self, data: bytes, fin: bool) -> None:
        try:
            for pdu in self._decoder.feed(data):
                self._inbox.put_nowait(pdu)
            if fin:
                self._decoder.finish()
                self._inbox.put_nowait(None)
        except WireError as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        self._inbox.put_nowait(error)


class PduConnection(QuicConnectionProtocol):
    """A connection whose streams carry PDUs; it keeps itself alive, and reports when the other side ends it."""

    def __init__(
        self,
        quic: QuicConnection,
        stream_handler: None = None,
        on_stream: Callable[[PduStream], object] | None = None,
    ) -> None:
        super().__init__(quic, stream_handler)
        self._on_stream = on_stream
        self._version: type[Pdu] | None = None
        self._pdu_streams: dict[int, PduStream] = {}
        self._finished: set[int] = set()  # streams on which nothing more can be sent
        self._closed_here = False
        self._vanished = False
        self._progress = asyncio.Event()
        self._keep_alive = asyncio.create_task(self._ping_forever())

    def open_stream(self) -> PduStream:
        return self._add_stream(self._quic.get_next_available_stream_id())

    def send_on(self, stream_id: int, data: bytes, fin: bool = False) -> None:
        if stream_id in self._finished:
            return
        if fin:
            self._finished.add(stream_id)
        self._quic.send_stream_data(stream_id, data, fin)
        self.transmit()

    def reset(self, stream_id: int, error_code: int) -> None:
        self._finished.add(stream_id)
        self._quic.reset_stream(stream_id, error_code)
        self.transmit()

    def can_send_on(self, stream_id: int) -> bool:
        return not self._closed.is_set() and stream_id not in self._finished

    def has_unacknowledged(self, stream_id: int) -> bool:
        if not self.can_send_on(stream_id):
            return False
        # aioquic tells nobody what is still to be acknowledged, so this looks inside; its version is pinned.
        stream = self._quic._streams.get(stream_id)
        return stream is not None and len(stream.sender._buffer) > 0

    async def progress(self) -> None:
        """Waits for the next thing that the peer does."""
        await self._progress.wait()

    def close(self, error_code: int = 0, reason_phrase: str = "") -> None:
        self._closed_here = True
        super().close(error_code, reason_phrase)

    def vanish(self) -> None:
        """Falls silent, as if the machine had lost its power."""
        self._vanished = True
        self._keep_alive.cancel()
        self._fail_streams(ConnectionClosed(0, "vanished"))

    def transmit(self) -> None:
        if not self._vanished:
            super().transmit()

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        if self._vanished:
            return
        super().datagram_received(data, addr)
        self._progress.set()
        self._progress.clear()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        match event:
            case events.HandshakeCompleted():
                self._version = VERSIONS.get(event.alpn_protocol or "")
                emit("connected", alpn=event.alpn_protocol)
            case events.StreamDataReceived():
                self._stream(event.stream_id).received(event.data, event.end_stream)
            case events.StreamReset():
                emit("reset", error_code=event.error_code)
                self._stream(event.stream_id).failed(StreamReset(f"stream reset with error {event.error_code}"))
            case events.StopSendingReceived():
                self._finished.add(event.stream_id)
                emit("stopped", error_code=event.error_code)
            case events.ConnectionTerminated():
                self._keep_alive.cancel()
                self._progress.set()
                if not self._closed_here:
                    emit("terminated", error_code=event.error_code, reason=event.reason_phrase)
                self._fail_streams(ConnectionClosed(event.error_code, event.reason_phrase))

    def _fail_streams(self, error: ConnectionClosed) -> None:
        for stream in self._pdu_streams.values():
            stream.failed(error)

    def _add_stream(self, stream_id: int) -> PduStream:
        if self._version is None:
            raise WireError("no ALPN was negotiated")
        return self._pdu_streams.setdefault(stream_id, PduStream(self, stream_id, self._version))

    def _stream(self, stream_id: int) -> PduStream:
        if stream_id not in self._pdu_streams:
            stream = self._add_stream(stream_id)
            if self._on_stream:
                self._on_stream(stream)
        return self._pdu_streams[stream_id]

    async def _ping_forever(self) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            await self.ping()


def configuration(is_client: bool, pdu: type[Pdu]) -> QuicConfiguration:
    return QuicConfiguration(is_client=is_client, alpn_protocols=[pdu.alpn], idle_timeout=IDLE_TIMEOUT)


def emit(event: str, **fields: object) -> None:
    """Prints one line for the test that started this process."""
    print(json.dumps({"event": event, **fields}), flush=True)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a peer; whatever keeps it from its script is one line of JSON and exit code 1."""
    try:
        asyncio.run(main)
    except Exception as error:
        traceback.print_exc()
        emit("failed", message=str(error) or type(error).__name__)
        sys.exit(1)
