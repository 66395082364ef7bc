"""A version 2 server that streams one title to whoever asks, well or with one chosen fault (`--scenario`)."""

import argparse
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import wire
from peer import dribble, run
from server import parser, serve
from v2_session import V2Session, nack
from v2_wire import OPTION, UNKNOWN_OPTIONS, CloseStream, ListReply, ListTitles, Options, Pdu, WithOptions
from wire import Body, CloseReason, NackCode, PduType

LIST_LENGTH = 5000
LIST_PDU_LENGTH = 1000
OTHER_DIGEST = hashlib.sha256(b"other media").digest()  # as long as BLAKE3's, and of nothing that is served


class Faulty(V2Session):
    """Goes wrong in the first `--faults` sessions, and serves the others well."""

    async def script(self) -> None:
        if self.is_faulty:
            await self.fault()
        else:
            await super().script()

    @property
    def is_faulty(self) -> bool:
        return self.number <= int(self.options.faults)

    async def fault(self) -> None:
        raise NotImplementedError


class Shutdown(Faulty):
    async def fault(self) -> None:
        await self.send_chunks(3)
        self.close(CloseReason.SHUTTING_DOWN)


class Drop(Faulty):
    async def fault(self) -> None:
        await self.send_chunks(3)
        self.stream.connection.close()


class Vanish(Faulty):
    async def fault(self) -> None:
        await self.send_chunks(3)
        self.stream.connection.vanish()


class Cut(Faulty):
    async def fault(self) -> None:
        await self.send_chunks(3)
        self.stream.send(b"", fin=True)
        self.tell_end()


class Reset(Faulty):
    async def fault(self) -> None:
        await self.send_chunks(3)
        self.stream.reset(0)
        self.tell_end()


class Stall(Faulty):
    async def fault(self) -> None:
        self.mute = True
        await self.send_chunk()


class Busy(V2Session):
    def refusal(self, offer: wire.OpenStream) -> wire.OpenNack | None:
        if self.number <= self.options.faults:
            return nack(NackCode.BUSY, retry_after=1)
        return super().refusal(offer)


class BusyLater(Drop):
    def refusal(self, offer: wire.OpenStream) -> wire.OpenNack | None:
        if self.number == self.options.faults + 1:
            return nack(NackCode.BUSY, retry_after=1)
        return super().refusal(offer)


class Changed(Drop):
    def refusal(self, offer: wire.OpenStream) -> wire.OpenNack | None:
        return super().refusal(offer) if self.is_faulty else nack(NackCode.MEDIA_CHANGED)


class Gone(Drop):
    def refusal(self, offer: wire.OpenStream) -> wire.OpenNack | None:
        return super().refusal(offer) if self.is_faulty else nack(NackCode.NO_SUCH_TITLE)


class WrongStart(Drop):
    def granted(self) -> Options:
        granted = super().granted()
        return granted if self.is_faulty else replace(granted, start=0)


class MediaFailed(V2Session):
    async def script(self) -> None:
        await self.send_chunks(3)
        self.close(CloseReason.MEDIA_FAILED)


class TooMuch(V2Session):
    """Goes on after the end that it announced."""

    async def script(self) -> None:
        await self.send_chunks(3)
        while self.stream.is_open:
            self.send(wire.StreamChunk(self.seq + 1, bytes(1000)))
            self.seq += 1
            await self.stream.drained()

    def granted(self) -> Options:
        return replace(super().granted(), size=200_000)


class EmptyChunk(V2Session):
    async def script(self) -> None:
        await self.send_chunk()
        self.send(wire.StreamChunk(self.seq + 1, b""))
        await self.stream.drained()


class Trickle(V2Session):
    """Brings a byte in each session, and drops the connection."""

    async def script(self) -> None:
        self.send(wire.StreamChunk(self.seq + 1, self.media.read(1)))
        await self.stream.drained()
        self.stream.connection.close()


class Mute(V2Session):
    """Answers nothing at all."""

    def handle(self, body: Body | None) -> None:
        pass

    def finished(self) -> None:
        pass


class ListRefused(V2Session):
    def handle(self, body: Body | None) -> None:
        if isinstance(body, ListTitles):
            self.send(nack(NackCode.BUSY, retry_after=1))
        else:
            super().handle(body)


class Limit(V2Session):
    async def script(self) -> None:
        await self.send_chunks(3)
        self.close(CloseReason.LIMIT)


class Tired(V2Session):
    """Gives the connection up, as one of no use, at the second of any two streams."""

    def handle(self, body: Body | None) -> None:
        if self._assigned % 2 == 0:
            self.stream.connection.close(CloseReason.LIMIT)
        else:
            super().handle(body)


class Unused(V2Session):
    """Gives the connection up as if it had never heard the first OPEN_STREAM."""

    _heard = False

    def handle(self, body: Body | None) -> None:
        if Unused._heard:
            super().handle(body)
        else:
            Unused._heard = True
            self.stream.connection.close(CloseReason.LIMIT)


class UnknownOptions(V2Session):
    def send(self, body: Body) -> None:
        if isinstance(body, WithOptions):
            body = replace(body, options=replace(body.options, raw=UNKNOWN_OPTIONS))
        super().send(body)

    def closing(self, reason: int) -> CloseStream:
        closing = super().closing(reason)
        return replace(closing, options=replace(closing.options, raw=UNKNOWN_OPTIONS))

    def list_replies(self) -> Iterator[ListReply]:
        for reply in super().list_replies():
            yield replace(reply, entries=tuple(replace(entry, raw=UNKNOWN_OPTIONS) for entry in reply.entries))


class DuplicateOption(V2Session):
    def granted(self) -> Options:
        granted = super().granted()
        return replace(granted, raw=Options(size=granted.size).encode())


class TruncatedOption(V2Session):
    def granted(self) -> Options:
        return replace(super().granted(), raw=OPTION.pack(1000, 65535))


class ShortDigest(V2Session):
    def granted(self) -> Options:
        return replace(super().granted(), digest=None, raw=Options(digest=OTHER_DIGEST[:31]).encode())


class BadDigest(V2Session):
    def granted(self) -> Options:
        return replace(super().granted(), digest=OTHER_DIGEST)


class DigestClose(V2Session):
    """Knows the digest only at the end."""

    def granted(self) -> Options:
        return replace(super().granted(), digest=None)

    def digest(self) -> bytes | None:
        digest: bytes | None = self.options.digest
        return digest

    def closing(self, reason: int) -> CloseStream:
        closing = super().closing(reason)
        return replace(closing, options=replace(closing.options, digest=self.digest()))


class BadDigestClose(DigestClose):
    def digest(self) -> bytes:
        return OTHER_DIGEST


class WrongSize(V2Session):
    def granted(self) -> Options:
        granted = super().granted()
        assert granted.size is not None
        return replace(granted, size=granted.size + 1)


class WrongSession(V2Session):
    async def script(self) -> None:
        await self.send_chunk()
        self.send_pdu(Pdu.of(self.next_chunk(), self.session_id + 1))
        await self.send_rest()


class ListMany(V2Session):
    """Backwards, for a client to sort."""

    def list_replies(self) -> Iterator[ListReply]:
        own = Options(title=self.options.title, size=len(self.media.getvalue()), media_type="video/mp4")
        others = (
            Options(title=f"many/{n:05}.mp4", size=n, media_type="video/mp4", bitrate=n * 1000)
            for n in reversed(range(LIST_LENGTH - 1))
        )
        titles = (own, *others)
        for start in range(0, LIST_LENGTH, LIST_PDU_LENGTH):
            end = start + LIST_PDU_LENGTH
            yield ListReply(titles[start:end], more=end < LIST_LENGTH)


class ListBad(V2Session):
    def handle(self, body: Body | None) -> None:
        if isinstance(body, ListTitles):
            truncated = struct.pack(">IH", 1, 100) + Options(title=self.options.title).encode()
            self.send_pdu(Pdu(PduType.LIST_REPLY, truncated, self.session_id))
        else:
            super().handle(body)


class ListEndless(V2Session):
    """Without a title in it. The client has to be the one that ends it."""

    def list_replies(self) -> Iterator[ListReply]:
        return repeat(ListReply((Options(),) * 60_000, more=True), 40)


class ListCrowded(V2Session):
    def list_replies(self) -> Iterator[ListReply]:
        yield ListReply((Options(),) * 65_537)


class SingleBytes(V2Session):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stream.split = dribble


SCENARIOS: dict[str, type[V2Session]] = {
    "normal": V2Session,
    "shutdown": Shutdown,
    "drop": Drop,
    "vanish": Vanish,
    "cut": Cut,
    "reset": Reset,
    "stall": Stall,
    "busy": Busy,
    "busy-later": BusyLater,
    "changed": Changed,
    "gone": Gone,
    "wrong-start": WrongStart,
    "media-failed": MediaFailed,
    "limit": Limit,
    "tired": Tired,
    "unused": Unused,
    "too-much": TooMuch,
    "empty-chunk": EmptyChunk,
    "mute": Mute,
    "trickle": Trickle,
    "list-refused": ListRefused,
    "unknown-options": UnknownOptions,
    "duplicate-option": DuplicateOption,
    "truncated-option": TruncatedOption,
    "short-digest": ShortDigest,
    "bad-digest": BadDigest,
    "digest-close": DigestClose,
    "bad-digest-close": BadDigestClose,
    "wrong-size": WrongSize,
    "wrong-session": WrongSession,
    "list-many": ListMany,
    "list-bad": ListBad,
    "list-endless": ListEndless,
    "list-crowded": ListCrowded,
    "single-bytes": SingleBytes,
}


def arguments() -> argparse.Namespace:
    arguments = parser(__doc__, SCENARIOS)
    arguments.add_argument("--title", help="default: the name of the media file")
    arguments.add_argument("--digest", type=bytes.fromhex, help="the media's BLAKE3-256, in hex; default: send none")
    arguments.add_argument("--faults", type=int, default=1, metavar="N", help="of how many sessions, from the first")
    options = arguments.parse_args()
    options.title = options.title or options.media.name
    return options


if __name__ == "__main__":
    options = arguments()
    run(serve(SCENARIOS[options.scenario], options))
