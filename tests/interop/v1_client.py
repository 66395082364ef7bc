"""A version 1 client that saves what it is sent, and on the way does what one of its scenarios says (`--scenario`)."""

import argparse
import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from aioquic.asyncio.client import connect

from peer import ConnectionClosed, PduConnection, PduStream, StreamReset, configuration, dribble, emit, run
from wire import (
    HEADER,
    VERSION_1,
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

SESSION_ID = 12345  # the origin client's, whatever the server assigned
DEADLINE = 120.0  # seconds for a whole scenario, so that no test hangs on one

GOOD_OFFER = OpenStream()


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"refused with code {code}")
        self.code = code


class Client:
    """Checks and saves everything that arrives, and reports it; a scenario decides what is sent."""

    def __init__(self, stream: PduStream, output: BinaryIO) -> None:
        self.stream = stream
        self.terms: OpenAck | None = None
        self.chunks = 0
        self.bytes = 0
        self.beats_sent = 0
        self.beats_received = 0
        self.closed = False
        self.ended = False
        self._output = output
        self._streaming = asyncio.Event()

    # Sending

    def send(self, body: Body, fin: bool = False) -> None:
        self.send_pdu(Pdu.of(body, SESSION_ID), fin)

    def send_pdu(self, pdu: Pdu, fin: bool = False) -> None:
        self.stream.send(pdu.encode(), fin)

    def offer(self, offer: OpenStream = GOOD_OFFER) -> None:
        self.send_pdu(Pdu.of(offer, session_id=0))

    def beat(self) -> None:
        self.send(Heartbeat.now())
        self.beats_sent += 1

    def pause(self) -> None:
        self._streaming.clear()
        self.send(PauseStream())

    def resume(self) -> None:
        self.send(ResumeStream())
        self._streaming.set()

    async def beat_while_streaming(self) -> None:
        """Never while paused, as the origin's client."""
        while True:
            await self._streaming.wait()
            assert self.terms, "streaming begins with OPEN_ACK"
            await asyncio.sleep(self.terms.keepalive)
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
        match body:
            case OpenAck():
                self._accepted(body, pdu.session_id)
            case OpenNack():
                emit("nack", code=body.code)
                raise Refused(body.code)
            case StreamChunk():
                self._save(body)
            case Heartbeat():
                self.beats_received += 1
                emit("heartbeat", timestamp=body.timestamp)
            case CloseStream():
                self.closed = True
                self._streaming.clear()
                emit("close")
        return body

    def _accepted(self, terms: OpenAck, session_id: int) -> None:
        if self.terms:
            raise WireError("a second OPEN_ACK")
        self.terms = terms
        self._streaming.set()
        emit(
            "ack",
            bitrate=terms.bitrate,
            chunk=terms.max_chunk_size,
            keepalive=terms.keepalive,
            timeout=terms.timeout,
            session=session_id,
        )

    def _save(self, chunk: StreamChunk) -> None:
        if not self.terms:
            raise WireError("STREAM_CHUNK before OPEN_ACK")
        if chunk.seq != self.chunks + 1:
            raise WireError(f"chunk {chunk.seq} after chunk {self.chunks}")
        if len(chunk.payload) > self.terms.max_chunk_size:
            raise WireError(f"{len(chunk.payload)} bytes in a chunk, at most {self.terms.max_chunk_size} were agreed")
        self.chunks += 1
        self.bytes += len(chunk.payload)
        self._output.write(chunk.payload)
        emit("chunk", seq=chunk.seq, bytes=len(chunk.payload))

    # What scenarios are made of

    async def open(self) -> None:
        self.offer()
        await self.until(OpenAck)

    async def until(self, wanted: type[Body]) -> None:
        while not isinstance(await self.receive(), wanted):
            if self.ended:
                raise WireError(f"the stream ended before {wanted.type.name}")

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

    async def expect_refusal(self, code: int) -> None:
        try:
            await self.until_end()
        except Refused as refusal:
            if refusal.code != code:
                raise
        else:
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


Scenario = Callable[[Client, argparse.Namespace], Awaitable[None]]


async def normal(client: Client, options: argparse.Namespace) -> None:
    await client.open()
    await client.until_chunk(options.pause_at)
    await client.paused_for(options.pause_for)
    await client.until_end()


async def no_pause(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    await client.until_end()


async def single_bytes(client: Client, options: argparse.Namespace) -> None:
    client.stream.split = dribble
    await normal(client, options)


async def coalesced(client: Client, _: argparse.Namespace) -> None:
    later = (PauseStream(), Heartbeat.now(), ResumeStream())
    client.stream.send(
        Pdu.of(GOOD_OFFER, session_id=0).encode() + b"".join(Pdu.of(body, SESSION_ID).encode() for body in later)
    )
    await client.until_end()


async def bad_codec(client: Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, codec="mpeg1"))
    await client.expect_refusal(NackCode.UNSUPPORTED_CODEC)
    await client.open()
    await client.until_end()


async def encryption(client: Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, encryption=1))
    await client.expect_refusal(NackCode.UNSUPPORTED_ENCRYPTION)


async def multicast(client: Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, delivery=1))
    await client.expect_refusal(NackCode.MULTICAST_UNSUPPORTED)


async def delivery_7(client: Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, delivery=7))
    await client.expect_refusal(NackCode.PROTOCOL_VIOLATION)


async def malformed_open(client: Client, _: argparse.Namespace) -> None:
    within_the_profile = GOOD_OFFER.encode()[:12]
    client.send_pdu(Pdu(PduType.OPEN_STREAM, within_the_profile))
    await client.expect_refusal(NackCode.PROTOCOL_VIOLATION)
    await client.open()
    await client.until_end()


async def double_open(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.offer()
    await client.expect_refusal(NackCode.PROTOCOL_VIOLATION)
    await client.until_end()


async def bad_version(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send_pdu(Pdu(PduType.PAUSE_STREAM, session_id=SESSION_ID, version=9))
    await client.expect_termination()


async def big_body(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.stream.send(HEADER.pack(VERSION_1, PduType.OPEN_STREAM, 0, 0, SESSION_ID, 16 << 20))
    await client.expect_termination()


async def bad_heartbeat(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send_pdu(Pdu(PduType.HEARTBEAT, bytes(3), SESSION_ID))
    await client.expect_termination()


async def unknown_type(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send_pdu(Pdu(77, bytes(500), SESSION_ID))
    await client.until_end()


async def chunk_from_client(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send(StreamChunk(1, b"not for a server"))
    await client.until_end()


async def silent(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    client.pause()
    paused_at = time.monotonic()
    await client.until(CloseStream)
    emit("timed_out", seconds=round(time.monotonic() - paused_at, 3))
    try:
        await client.until_end()
    except ConnectionClosed:
        pass  # to close the connection at once is as good an end as FIN


async def paused_heartbeats(client: Client, options: argparse.Namespace) -> None:
    await client.open()
    await client.until_chunk(1)
    await client.paused_for(options.pause_for)
    await client.until_end()


async def heartbeat(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    while not client.ended:
        if isinstance(await client.receive(), StreamChunk):
            client.beat()
    emit("heartbeats", sent=client.beats_sent, answered=client.beats_received)


async def close_early(client: Client, _: argparse.Namespace) -> None:
    await client.open()
    await client.until_chunk(2)
    client.send(CloseStream(), fin=True)
    await client.until_end()


SCENARIOS: dict[str, Scenario] = {
    "normal": normal,
    "no-pause": no_pause,
    "single-bytes": single_bytes,
    "coalesced": coalesced,
    "bad-codec": bad_codec,
    "encryption": encryption,
    "multicast": multicast,
    "delivery-7": delivery_7,
    "malformed-open": malformed_open,
    "double-open": double_open,
    "bad-version": bad_version,
    "big-body": big_body,
    "bad-heartbeat": bad_heartbeat,
    "unknown-type": unknown_type,
    "chunk-from-client": chunk_from_client,
    "silent": silent,
    "paused-heartbeats": paused_heartbeats,
    "heartbeat": heartbeat,
    "close-early": close_early,
}


async def main(options: argparse.Namespace) -> None:
    quic = configuration(is_client=True)
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
            client = Client(cast(PduConnection, connection).open_stream(), output)
            beating = asyncio.create_task(client.beat_while_streaming())
            try:
                await SCENARIOS[options.scenario](client, options)
            finally:
                beating.cancel()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scenario", choices=SCENARIOS, default="normal")
    trust = parser.add_mutually_exclusive_group(required=True)
    trust.add_argument("--ca", type=Path, help="PEM file; the server's own certificate if that is self-signed")
    trust.add_argument("--insecure", action="store_true")
    parser.add_argument("--pause-at", type=int, default=3, metavar="SEQ")
    parser.add_argument("--pause-for", type=float, default=2.0, metavar="SECONDS")
    return parser.parse_args()


if __name__ == "__main__":
    run(main(arguments()))
