"""A version 1 server that streams one file to whoever asks, well or with one chosen fault (`--scenario`)."""

import argparse
import asyncio
import io
import itertools
import signal
import struct
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from aioquic.asyncio.server import QuicServer

from peer import ConnectionClosed, PduConnection, PduStream, StreamReset, configuration, dribble, emit, run
from wire import (
    Body,
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
RESET_CODE = 1
DISCONNECT_CODE = 1


class State(Enum):
    IDLE = auto()
    STREAMING = auto()
    PAUSED = auto()
    CLOSED = auto()


class Session:
    """A good server's side of one stream. Each other scenario is a subclass that goes wrong in one place."""

    late_chunks: ClassVar = 0  # that still go out after PAUSE_STREAM
    mute: ClassVar = False  # neither answers CLOSE_STREAM nor times out

    def __init__(self, stream: PduStream, tasks: asyncio.TaskGroup, options: argparse.Namespace, number: int) -> None:
        self.stream = stream
        self.terms = OpenAck(options.bitrate, options.chunk, options.keepalive, options.timeout)
        self.seq = 0
        self._tasks = tasks
        self._options = options
        self._number = number
        self._media = io.BytesIO(options.media.read_bytes())
        self._state = State.IDLE
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
            self._state = State.STREAMING
            self._script = self._tasks.create_task(self.script())
        else:
            self.send(OpenNack(refusal))

    def refusal(self, offer: OpenStream) -> int | None:
        if offer.codec not in CODECS:
            return NackCode.UNSUPPORTED_CODEC
        if offer.encryption:
            return NackCode.UNSUPPORTED_ENCRYPTION
        if offer.delivery:
            return NackCode.MULTICAST_UNSUPPORTED if offer.delivery == 1 else NackCode.PROTOCOL_VIOLATION
        return None

    def acknowledge(self) -> None:
        self.send(self.terms)

    # What scripts are made of

    def send(self, body: Body) -> None:
        self.send_pdu(Pdu.of(body, self._number))

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
        return StreamChunk(self.seq, self._media.read(size or self.terms.max_chunk_size))

    def close(self) -> None:
        self.stream.send(Pdu.of(CloseStream(), self._number).encode(), fin=True)
        self._state = State.CLOSED
        self.stop()

    def stop(self) -> None:
        if self._script and self._script is not asyncio.current_task():
            self._script.cancel()

    async def _permission(self) -> None:
        while self._state is State.PAUSED:
            if self._late_left:
                self._late_left -= 1
                return
            try:
                async with asyncio.timeout(self.terms.keepalive):
                    await self._resumed.wait()
            except TimeoutError:
                self._heartbeat()

    def _heartbeat(self) -> None:
        if self._options.heartbeats:
            self.send(Heartbeat.now())

    # What the client does

    async def run(self) -> None:
        try:
            while True:
                await self._turn()
        except (ConnectionClosed, StreamReset):
            pass  # whatever a client does, the server is there for the next one
        except WireError as error:
            emit("violation", message=str(error))
            self.stream.connection.close(CLOSE_VIOLATION, str(error))
        finally:
            self.stop()

    async def _turn(self) -> None:
        timed = not self.mute and self._state is not State.CLOSED
        try:
            async with asyncio.timeout(self.terms.timeout if timed else None):
                pdu = await self.stream.receive()
        except TimeoutError:
            emit("timeout")
            self.close()
            return
        if pdu is None:
            emit("fin")
        else:
            self._handle(pdu)

    def _handle(self, pdu: Pdu) -> None:
        try:
            body = pdu.parse()
        except WireError as error:
            if pdu.type != PduType.OPEN_STREAM:
                raise
            emit("pdu", type=pdu.name, session=pdu.session_id, malformed=str(error))
            self.send(OpenNack(NackCode.PROTOCOL_VIOLATION))
            return
        emit("pdu", type=pdu.name, session=pdu.session_id, **described(body))
        match body, self._state:
            case _, State.CLOSED:
                pass
            case OpenStream(), State.IDLE:
                self.answer(body)
            case OpenStream(), _:
                self.send(OpenNack(NackCode.PROTOCOL_VIOLATION))
            case PauseStream(), State.STREAMING:
                self._state = State.PAUSED
                self._resumed.clear()
                self._late_left = self.late_chunks
            case ResumeStream(), State.PAUSED:
                self._state = State.STREAMING
                self._resumed.set()
            case CloseStream(), State.STREAMING | State.PAUSED if not self.mute:
                self.close()
            case Heartbeat(), _:
                self._heartbeat()


def described(body: Body | None) -> dict[str, object]:
    if isinstance(body, StreamChunk):
        return {"seq": body.seq, "bytes": len(body.payload)}
    return dict(vars(body)) if body else {}


class LatePause(Session):
    late_chunks = 5


class Stall(Session):
    """Alive as far as QUIC can tell, but never sends a second chunk."""

    mute = True

    async def script(self) -> None:
        await self.send_chunk()


class Nack(Session):
    def refusal(self, offer: OpenStream) -> int | None:
        return int(self._options.nack_code)


class Cut(Session):
    async def script(self) -> None:
        await self.send_chunks(3)
        self.stream.send(b"", fin=True)


class Reset(Session):
    async def script(self) -> None:
        await self.send_chunks(3)
        self.stream.reset(RESET_CODE)


class Disconnect(Session):
    async def script(self) -> None:
        await self.send_chunks(3)
        self.stream.connection.close(DISCONNECT_CODE, "disconnect")


class Gap(Session):
    async def script(self) -> None:
        await self.send_chunks(2)
        self.seq += 1
        await self.send_rest()


class Duplicate(Session):
    async def script(self) -> None:
        await self.send_chunk()
        second = self.next_chunk()
        self.send(second)
        self.send(second)
        await self.send_rest()


class Oversized(Session):
    async def script(self) -> None:
        await self.send_chunk()
        self.send(self.next_chunk(self.terms.max_chunk_size + 1))
        await self.send_rest()


class BadLength(Session):
    async def script(self) -> None:
        await self.send_chunk()
        chunk = self.next_chunk()
        lying = struct.pack(">II", chunk.seq, len(chunk.payload) - 1) + chunk.payload
        self.send_pdu(Pdu(PduType.STREAM_CHUNK, lying, self._number))
        await self.send_rest()


class BadVersion(Session):
    async def script(self) -> None:
        await self.send_chunk()
        self.send_pdu(Pdu(PduType.STREAM_CHUNK, self.next_chunk().encode(), self._number, version=7))
        await self.send_rest()


class ShortAck(Session):
    def acknowledge(self) -> None:
        self.send_pdu(Pdu(PduType.OPEN_ACK, self.terms.encode()[:15], self._number))


class SingleBytes(Session):
    def __init__(self, stream: PduStream, *others: Any) -> None:
        super().__init__(stream, *others)
        stream.split = dribble


class UnknownTypes(Session):
    async def script(self) -> None:
        while await self.send_chunk():
            self.send_pdu(Pdu(200, bytes(1000), self._number))
            self.send_pdu(Pdu(10, struct.pack(">I", 0), self._number))  # version 2's LIST_REPLY, with no entries
        self.close()


class Silent(Session):
    mute = True

    def answer(self, offer: OpenStream) -> None:
        pass


SCENARIOS: dict[str, type[Session]] = {
    "normal": Session,
    "late-pause": LatePause,
    "stall": Stall,
    "nack": Nack,
    "cut": Cut,
    "reset": Reset,
    "disconnect": Disconnect,
    "gap": Gap,
    "duplicate": Duplicate,
    "oversized": Oversized,
    "bad-length": BadLength,
    "bad-version": BadVersion,
    "short-ack": ShortAck,
    "single-bytes": SingleBytes,
    "unknown-types": UnknownTypes,
    "silent": Silent,
}


async def serve(options: argparse.Namespace) -> None:
    quic = configuration(is_client=False)
    quic.load_cert_chain(options.cert, options.key)
    numbers = itertools.count(1)

    async with asyncio.TaskGroup() as tasks:

        def start_session(stream: PduStream) -> None:
            tasks.create_task(SCENARIOS[options.scenario](stream, tasks, options, next(numbers)).run())

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


async def main(options: argparse.Namespace) -> None:
    serving = asyncio.create_task(serve(options))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        pass  # SIGTERM is how a test says that it is done


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cert", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--media", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scenario", choices=SCENARIOS, default="normal")
    parser.add_argument("--keepalive", type=int, default=5, help="seconds")
    parser.add_argument("--timeout", type=int, default=30, help="seconds without a PDU that end a session")
    parser.add_argument("--chunk", type=int, default=65536, help="payload bytes")
    parser.add_argument("--bitrate", type=int, default=500_000, help="what OPEN_ACK says; nothing is paced")
    parser.add_argument("--nack-code", type=int, default=1)
    parser.add_argument("--heartbeats", action="store_true", help="answer them, and send them while paused")
    return parser.parse_args()


if __name__ == "__main__":
    run(main(arguments()))
