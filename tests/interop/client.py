"""What a client of either version is made of: it checks and saves what arrives, and a scenario says what is sent."""

import argparse
import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar, TypeVar, cast

from aioquic.asyncio.client import connect

from peer import ConnectionClosed, PduConnection, PduStream, StreamReset, configuration, emit
from wire import (
    Body,
    CloseStream,
    Heartbeat,
    OpenAck,
    OpenNack,
    OpenStream,
    PauseStream,
    Pdu,
    ResumeStream,
    StreamChunk,
    WireError,
)

B = TypeVar("B", bound=Body)
C = TypeVar("C", bound="Client")

DEADLINE = 120.0  # seconds for a whole scenario, so that no test hangs on one


class Refused(Exception):
    def __init__(self, nack: OpenNack) -> None:
        super().__init__(f"refused with code {nack.code}")
        self.nack = nack


class Client:
    """One session, reporting all that happens to it."""

    pdu: ClassVar[type[Pdu]] = Pdu
    good_offer: ClassVar = OpenStream()

    def __init__(self, stream: PduStream, output: BinaryIO) -> None:
        self.stream = stream
        self.session_id = 0  # of what is sent once the server has accepted
        self.terms: OpenAck | None = None
        self.chunks = 0
        self.bytes = 0
        self.beats_sent = 0
        self.beats_received = 0
        self.closed = False
        self.ended = False
        self.output = output
        self._streaming = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    # Sending

    def send(self, body: Body, fin: bool = False) -> None:
        self.send_pdu(self.pdu.of(body, self.session_id), fin)

    def send_pdu(self, pdu: Pdu, fin: bool = False) -> None:
        self.stream.send(pdu.encode(), fin)

    def offer(self, offer: OpenStream | None = None) -> None:
        self.send_pdu(self.pdu.of(offer or self.good_offer, session_id=0))

    def beat(self) -> None:
        self.send(Heartbeat.now())
        self.beats_sent += 1

    def pause(self) -> None:
        self._streaming.clear()
        self.send(PauseStream())

    def resume(self) -> None:
        self.send(ResumeStream())
        self._streaming.set()

    async def _beat_while_streaming(self, interval: float) -> None:
        """Never while paused, as the origin's client."""
        while True:
            await self._streaming.wait()
            await asyncio.sleep(interval)
            if self._streaming.is_set():
                self.beat()

    # Receiving

    async def receive(self) -> Body | None:
        """Returns None at the end of the stream and for a PDU of unknown type."""
        pdu = await self.stream.receive()
        if pdu is None:
            if not self.closed:
                raise WireError("the stream ended without CLOSE_STREAM")
            self.ended = True
            emit("end", bytes=self.bytes, chunks=self.chunks)
            return None
        if self.closed:
            raise WireError(f"{pdu.name} after CLOSE_STREAM")
        body = pdu.parse()
        self.handle(pdu, body)
        return body

    def handle(self, pdu: Pdu, body: Body | None) -> None:
        match body:
            case OpenAck():
                emit("ack", **body.described(), session=pdu.session_id)
                self.accepted(pdu, body)
            case OpenNack():
                emit("nack", **body.described())
                raise Refused(body)
            case StreamChunk():
                self.save(body)
            case Heartbeat():
                self.beats_received += 1
                emit("heartbeat", **body.described())
            case CloseStream():
                self.closed = True
                self._streaming.clear()
                emit("close", **body.described())

    def accepted(self, pdu: Pdu, terms: OpenAck) -> None:
        if self.terms:
            raise WireError("a second OPEN_ACK")
        self.terms = terms
        self._streaming.set()
        self._beating = asyncio.create_task(self._beat_while_streaming(terms.keepalive))

    def save(self, chunk: StreamChunk) -> None:
        if not self.terms:
            raise WireError("STREAM_CHUNK before OPEN_ACK")
        if chunk.seq != self.chunks + 1:
            raise WireError(f"chunk {chunk.seq} after chunk {self.chunks}")
        if len(chunk.payload) > self.terms.max_chunk_size:
            raise WireError(f"{len(chunk.payload)} bytes in a chunk, at most {self.terms.max_chunk_size} were agreed")
        self.chunks += 1
        self.bytes += len(chunk.payload)
        self.output.write(chunk.payload)
        emit("chunk", seq=chunk.seq, bytes=len(chunk.payload))

    # What scenarios are made of

    async def open(self, offer: OpenStream | None = None) -> None:
        self.offer(offer)
        await self.until(OpenAck)

    async def until(self, wanted: type[B]) -> B:
        while not isinstance(body := await self.receive(), wanted):
            if self.ended:
                raise WireError(f"the stream ended before {wanted.type.name}")
        return body

    async def until_chunk(self, seq: int) -> None:
        while self.chunks < seq:
            await self.until(StreamChunk)

    async def until_end(self) -> None:
        while not self.ended:
            await self.receive()

    async def paused_for(self, seconds: float) -> None:
        chunks, beats = self.chunks, self.beats_received
        self.pause()
        try:
            async with asyncio.timeout(seconds):
                await self.until_end()
        except TimeoutError:
            pass
        emit("during_pause", chunks=self.chunks - chunks, heartbeats=self.beats_received - beats)
        self.resume()

    async def expect_refusal(self, code: int) -> OpenNack:
        try:
            await self.until_end()
        except Refused as refusal:
            if refusal.nack.code != code:
                raise
            return refusal.nack
        raise WireError(f"not refused with code {code}")

    async def expect_termination(self) -> None:
        while True:
            try:
                await self.receive()
            except StreamReset:
                pass  # a server may give up the stream before the connection
            except ConnectionClosed as closed:
                if closed.error_code == 0:
                    raise
                return


async def play(
    client_type: type[C],
    scenarios: Mapping[str, Callable[[C, argparse.Namespace], Awaitable[None]]],
    options: argparse.Namespace,
) -> None:
    quic = configuration(is_client=True, pdu=client_type.pdu)
    quic.server_name = "localhost"
    if options.insecure:
        quic.verify_mode = ssl.CERT_NONE
    else:
        quic.load_verify_locations(str(options.ca))
    with options.output.open("wb") as output:
        async with (
            asyncio.timeout(DEADLINE),
            connect(options.host, options.port, configuration=quic, create_protocol=PduConnection) as connection,
        ):
            client = client_type(cast(PduConnection, connection).open_stream(), output)
            await scenarios[options.scenario](client, options)


def parser(description: str | None, scenarios: Mapping[str, object]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scenario", choices=scenarios, default="normal")
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument("--ca", type=Path, help="PEM file; the server's own certificate if that is self-signed")
    trust.add_argument("--insecure", action="store_true")
    return parser
