"""What a server of either version is made of: a good one. Each scenario is a `Session` that goes wrong in one place."""

import argparse
import asyncio
import io
import itertools
import signal
from collections.abc import Mapping
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import ClassVar

from aioquic.asyncio.server import QuicServer

from peer import ConnectionClosed, PduConnection, PduStream, StreamReset, configuration, emit
from wire import (
    Body,
    CloseReason,
    CloseStream,
    Heartbeat,
    NackCode,
    OpenAck,
    OpenNack,
    OpenStream,
    PauseStream,
    Pdu,
    PduType,
    ResumeStream,
    StreamChunk,
    WireError,
)

CODECS = {"h264", "h265", "av1", "vp9", "aac", "opus", "raw"}
CLOSE_VIOLATION = 99  # any error code would do: the specification names none for QUIC


class State(Enum):
    IDLE = auto()
    STREAMING = auto()
    PAUSED = auto()
    CLOSED = auto()


class Session:
    """A good server's side of one stream."""

    pdu: ClassVar[type[Pdu]] = Pdu
    late_chunks: ClassVar = 0  # that still go out after PAUSE_STREAM
    mute = False  # neither answers CLOSE_STREAM nor times out

    def __init__(self, stream: PduStream, tasks: asyncio.TaskGroup, options: argparse.Namespace, number: int) -> None:
        self.stream = stream
        self.terms = OpenAck(options.bitrate, options.chunk, options.keepalive, options.timeout)
        self.session_id = number
        self.seq = 0
        self.options = options
        self._tasks = tasks
        self.media = io.BytesIO(options.media.read_bytes())
        self.state = State.IDLE
        self._resumed = asyncio.Event()
        self._late_left = 0
        self._script: asyncio.Task[None] | None = None

    # What subclasses change

    async def script(self) -> None:
        await self.send_rest()

    def answer(self, offer: OpenStream) -> None:
        refusal = self.refusal(offer)
        if refusal is None:
            self.acknowledge()
            self.state = State.STREAMING
            self._script = self._tasks.create_task(self.script())
        else:
            self.send(refusal)

    def refusal(self, offer: OpenStream) -> OpenNack | None:
        if offer.codec not in CODECS:
            return OpenNack(NackCode.UNSUPPORTED_CODEC)
        if offer.encryption:
            return OpenNack(NackCode.UNSUPPORTED_ENCRYPTION)
        if offer.delivery:
            return OpenNack(NackCode.MULTICAST_UNSUPPORTED if offer.delivery == 1 else NackCode.PROTOCOL_VIOLATION)
        return None

    def acknowledge(self) -> None:
        self.send(self.terms)

    def heartbeat(self) -> None:
        """The answer to one, and a sign of life while paused."""
        if self.options.heartbeats:
            self.send(Heartbeat.now())

    def closing(self, _: int) -> CloseStream:
        return CloseStream()

    def finished(self) -> None:
        """The client sends no more."""

    def violated(self, error: WireError) -> None:
        emit("violation", message=str(error))
        self.stream.connection.close(CLOSE_VIOLATION, str(error))

    # What scripts are made of

    def send(self, body: Body) -> None:
        self.send_pdu(self.pdu.of(body, self.session_id))

    def send_pdu(self, pdu: Pdu) -> None:
        self.stream.send(pdu.encode())

    async def send_chunks(self, count: int) -> None:
        for _ in range(count):
            await self.send_chunk()

    async def send_rest(self) -> None:
        while await self.send_chunk():
            pass
        self.close()

    async def send_chunk(self) -> bool:
        """Sends the next chunk when it may, and waits for its delivery: a buffer full of chunks could not be paused."""
        chunk = self.next_chunk()
        if not chunk.payload:
            self._late_left = 0  # a pause late in the media still holds back its end
        await self._permission()
        if chunk.payload:
            self.send(chunk)
            await self.stream.drained()
        return bool(chunk.payload)

    def next_chunk(self, size: int | None = None) -> StreamChunk:
        self.seq += 1
        return StreamChunk(self.seq, self.media.read(size or self.terms.max_chunk_size))

    def close(self, reason: int = CloseReason.COMPLETE) -> None:
        self.stream.send(self.pdu.of(self.closing(reason), self.session_id).encode(), fin=True)
        self.state = State.CLOSED
        self.stop()

    def stop(self) -> None:
        if self._script and self._script is not asyncio.current_task():
            self._script.cancel()

    async def _permission(self) -> None:
        while self.state is State.PAUSED:
            if self._late_left:
                self._late_left -= 1
                return
            try:
                async with asyncio.timeout(self.terms.keepalive):
                    await self._resumed.wait()
            except TimeoutError:
                self.heartbeat()

    # What the client does

    async def run(self) -> None:
        try:
            while True:
                await self._turn()
        except (ConnectionClosed, StreamReset):
            pass  # whatever a client does, the server is there for the next one
        except WireError as error:
            self.violated(error)
        finally:
            self.stop()

    async def _turn(self) -> None:
        timed = not self.mute and self.state is not State.CLOSED
        try:
            async with asyncio.timeout(self.terms.timeout if timed else None):
                pdu = await self.stream.receive()
        except TimeoutError:
            emit("timeout")
            self.close(CloseReason.SESSION_TIMEOUT)
            return
        if pdu is None:
            emit("fin")
            self.finished()
        else:
            self.received(pdu)

    def received(self, pdu: Pdu) -> None:
        try:
            body = pdu.parse()
        except WireError as error:
            if pdu.type != PduType.OPEN_STREAM:
                raise
            emit("pdu", type=pdu.name, session=pdu.session_id, malformed=str(error))
            self.send(OpenNack(NackCode.PROTOCOL_VIOLATION))
            return
        emit("pdu", type=pdu.name, session=pdu.session_id, **(body.described() if body else {}))
        if self.state is not State.CLOSED:
            self.handle(body)

    def handle(self, body: Body | None) -> None:
        match body, self.state:
            case OpenStream(), State.IDLE:
                self.answer(body)
            case OpenStream(), _:
                self.send(OpenNack(NackCode.PROTOCOL_VIOLATION))
            case PauseStream(), State.STREAMING:
                self.state = State.PAUSED
                self._resumed.clear()
                self._late_left = self.late_chunks
            case ResumeStream(), State.PAUSED:
                self.state = State.STREAMING
                self._resumed.set()
            case CloseStream(), State.STREAMING | State.PAUSED if not self.mute:
                self.close(CloseReason.CLIENT_DONE)
            case Heartbeat(), _:
                self.heartbeat()


async def serve(scenario: type[Session], options: argparse.Namespace) -> None:
    """Until SIGTERM, which is how a test says that it is done."""
    serving = asyncio.create_task(_serve(scenario, options))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        pass


async def _serve(scenario: type[Session], options: argparse.Namespace) -> None:
    quic = configuration(is_client=False, pdu=scenario.pdu)
    quic.load_cert_chain(options.cert, options.key)
    numbers = itertools.count(1)

    async with asyncio.TaskGroup() as tasks:

        def start_session(stream: PduStream) -> None:
            tasks.create_task(scenario(stream, tasks, options, next(numbers)).run())

        # Not aioquic's serve(), which keeps the socket, and so the port that it was given, to itself.
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: QuicServer(configuration=quic, create_protocol=partial(PduConnection, on_stream=start_session)),
            local_addr=("127.0.0.1", options.port),
        )
        emit("listening", port=transport.get_extra_info("sockname")[1])
        try:
            await asyncio.Event().wait()
        finally:
            server.close()


def parser(description: str | None, scenarios: Mapping[str, object]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scenario", choices=scenarios, default="normal")
    parser.add_argument("--keepalive", type=int, default=5, help="seconds")
    parser.add_argument("--timeout", type=int, default=30, help="seconds without a PDU that end a session")
    parser.add_argument("--chunk", type=int, default=65536, help="payload bytes")
    parser.add_argument("--bitrate", type=int, default=500_000, help="what OPEN_ACK says; nothing is paced")
    return parser
