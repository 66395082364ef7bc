"""A version 1 server that streams one file to whoever asks, well or with one chosen fault (`--scenario`)."""

import argparse
import asyncio
import struct
from typing import Any

from peer import PduStream, dribble, run
from server import Session, parser, serve
from wire import OpenNack, OpenStream, Pdu, PduType

RESET_CODE = 1
DISCONNECT_CODE = 1


class LatePause(Session):
    late_chunks = 5


class Stall(Session):
    """Alive as far as QUIC can tell, but never sends a second chunk."""

    mute = True

    async def script(self) -> None:
        await self.send_chunk()


class Nack(Session):
    def refusal(self, offer: OpenStream) -> OpenNack:
        return OpenNack(self.options.nack_code)


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
        self.send_pdu(Pdu(PduType.STREAM_CHUNK, lying, self.session_id))
        await self.send_rest()


class BadVersion(Session):
    async def script(self) -> None:
        await self.send_chunk()
        self.send_pdu(Pdu(PduType.STREAM_CHUNK, self.next_chunk().encode(), self.session_id, version=7))
        await self.send_rest()


class ShortAck(Session):
    def acknowledge(self) -> None:
        self.send_pdu(Pdu(PduType.OPEN_ACK, self.terms.encode()[:15], self.session_id))


class SingleBytes(Session):
    def __init__(self, stream: PduStream, *others: Any) -> None:
        super().__init__(stream, *others)
        stream.split = dribble


class UnknownTypes(Session):
    async def script(self) -> None:
        while await self.send_chunk():
            self.send_pdu(Pdu(200, bytes(1000), self.session_id))
            self.send_pdu(Pdu(10, struct.pack(">I", 0), self.session_id))  # version 2's LIST_REPLY, with no entries
        self.close()


class Withheld(Session):
    """Sends the rest of a chunk when what came before it has been written, and not earlier."""

    async def script(self) -> None:
        whole, begun = (self.pdu.of(self.next_chunk(100), self.session_id).encode() for _ in range(2))
        self.stream.send(whole + begun[:50])
        part = self.options.media.with_name("out.mp4.part")
        while part.stat().st_size < 100:
            await asyncio.sleep(0.01)
        self.stream.send(begun[50:])
        await self.send_rest()


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
    "withheld": Withheld,
    "silent": Silent,
}


def arguments() -> argparse.Namespace:
    arguments = parser(__doc__, SCENARIOS)
    arguments.add_argument("--nack-code", type=int, default=1)
    arguments.add_argument("--heartbeats", action="store_true", help="answer them, and send them while paused")
    return arguments.parse_args()


if __name__ == "__main__":
    options = arguments()
    run(serve(SCENARIOS[options.scenario], options))
