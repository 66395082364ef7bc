"""A version 1 client that saves what it is sent, and on the way does what one of its scenarios says (`--scenario`)."""

import argparse
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from client import Client, parser, play
from peer import ConnectionClosed, dribble, emit, run
from wire import (
    HEADER,
    VERSION_1,
    CloseStream,
    Heartbeat,
    NackCode,
    OpenStream,
    PauseStream,
    Pdu,
    PduType,
    ResumeStream,
    StreamChunk,
)

SESSION_ID = 12345  # the origin client's, whatever the server assigned

GOOD_OFFER = OpenStream()


class V1Client(Client):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.session_id = SESSION_ID


Scenario = Callable[[V1Client, argparse.Namespace], Awaitable[None]]


async def normal(client: V1Client, options: argparse.Namespace) -> None:
    await client.open()
    await client.until_chunk(options.pause_at)
    await client.paused_for(options.pause_for)
    await client.until_end()


async def no_pause(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    await client.until_end()


async def single_bytes(client: V1Client, options: argparse.Namespace) -> None:
    client.stream.split = dribble
    await normal(client, options)


async def coalesced(client: V1Client, _: argparse.Namespace) -> None:
    later = (PauseStream(), Heartbeat.now(), ResumeStream())
    client.stream.send(
        Pdu.of(GOOD_OFFER, session_id=0).encode() + b"".join(Pdu.of(body, SESSION_ID).encode() for body in later)
    )
    await client.until_end()


async def bad_codec(client: V1Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, codec="mpeg1"))
    await client.expect_refusal(NackCode.UNSUPPORTED_CODEC)
    await client.open()
    await client.until_end()


async def encryption(client: V1Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, encryption=1))
    await client.expect_refusal(NackCode.UNSUPPORTED_ENCRYPTION)


async def multicast(client: V1Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, delivery=1))
    await client.expect_refusal(NackCode.MULTICAST_UNSUPPORTED)


async def delivery_7(client: V1Client, _: argparse.Namespace) -> None:
    client.offer(replace(GOOD_OFFER, delivery=7))
    await client.expect_refusal(NackCode.PROTOCOL_VIOLATION)


async def malformed_open(client: V1Client, _: argparse.Namespace) -> None:
    within_the_profile = GOOD_OFFER.encode()[:12]
    client.send_pdu(Pdu(PduType.OPEN_STREAM, within_the_profile))
    await client.expect_refusal(NackCode.PROTOCOL_VIOLATION)
    await client.open()
    await client.until_end()


async def double_open(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    client.offer()
    await client.expect_refusal(NackCode.PROTOCOL_VIOLATION)
    await client.until_end()


async def bad_version(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send_pdu(Pdu(PduType.PAUSE_STREAM, session_id=SESSION_ID, version=9))
    await client.expect_termination()


async def big_body(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    client.stream.send(HEADER.pack(VERSION_1, PduType.OPEN_STREAM, 0, 0, SESSION_ID, 16 << 20))
    await client.expect_termination()


async def bad_heartbeat(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send_pdu(Pdu(PduType.HEARTBEAT, bytes(3), SESSION_ID))
    await client.expect_termination()


async def unknown_type(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send_pdu(Pdu(77, bytes(500), SESSION_ID))
    await client.until_end()


async def chunk_from_client(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    client.send(StreamChunk(1, b"not for a server"))
    await client.until_end()


async def silent(client: V1Client, _: argparse.Namespace) -> None:
    await client.open()
    paused_at = time.monotonic()
    client.pause()
    await client.until(CloseStream)
    emit("timed_out", seconds=round(time.monotonic() - paused_at, 3))
    try:
        await client.until_end()
    except ConnectionClosed:
        pass  # to close the connection at once is as good an end as FIN


async def paused_heartbeats(client: V1Client, options: argparse.Namespace) -> None:
    await client.open()
    await client.until_chunk(1)
    await client.paused_for(options.pause_for)
    await client.until_end()


async def heartbeat(client: V1Client, _: argparse.Namespace) -> None:
    """One heartbeat at a time, so that only the last one can meet a session that has ended."""
    await client.open()
    while not client.ended:
        chunk_came = isinstance(await client.receive(), StreamChunk)
        if chunk_came and client.beats_sent <= client.beats_received:
            client.beat()
    emit("heartbeats", sent=client.beats_sent, answered=client.beats_received)


async def close_early(client: V1Client, _: argparse.Namespace) -> None:
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


def arguments() -> argparse.Namespace:
    arguments = parser(__doc__, SCENARIOS)
    arguments.add_argument("--pause-at", type=int, default=3, metavar="SEQ")
    arguments.add_argument("--pause-for", type=float, default=2.0, metavar="SECONDS")
    return arguments.parse_args()


if __name__ == "__main__":
    run(play(V1Client, SCENARIOS, arguments()))
