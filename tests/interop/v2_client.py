"""A version 2 client that saves what it is sent, and on the way does what one of its scenarios says (`--scenario`)."""

import argparse
import asyncio
import importlib
import importlib.util
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import wire
from client import Client, Refused, parser, play
from peer import emit, run
from v2_wire import (
    OPTION,
    TYPES,
    UNKNOWN_OPTIONS,
    CloseStream,
    Heartbeat,
    ListReply,
    ListTitles,
    OpenAck,
    OpenNack,
    OpenStream,
    Options,
    Pdu,
)
from wire import Body, CloseReason, NackCode, PauseStream, StreamChunk, WireError

WRONG_VALIDATOR = b"of no media at all"
LARGEST_TIMESTAMP = (1 << 64) - 1


class V2Client(Client):
    pdu = Pdu
    good_offer = OpenStream()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked = Options()
        self.granted = Options()
        self.close_reason: int | None = None
        self.echoes = 0
        self.unanswered: list[int] = []  # timestamps of heartbeats, oldest first

    def another(self) -> Self:
        """A second session on the same connection, into the same output."""
        return type(self)(self.stream.connection.open_stream(), self.output)

    # Sending

    def send(self, body: Body, fin: bool = False) -> None:
        if isinstance(body, wire.Heartbeat):
            self.unanswered.append(body.timestamp)
        super().send(body, fin)

    def offer(self, offer: wire.OpenStream | None = None) -> None:
        if isinstance(offer, OpenStream):
            self.asked = offer.options
        super().offer(offer)

    # Receiving

    def handle(self, pdu: wire.Pdu, body: Body | None) -> None:
        if isinstance(body, OpenAck) and not self.terms:
            if not pdu.session_id:
                raise WireError("session id 0 was assigned")
            self.session_id = pdu.session_id
        if pdu.session_id != self.session_id:
            raise WireError(f"{pdu.name} with session id {pdu.session_id}, not {self.session_id}")
        super().handle(pdu, body)
        match body:
            case OpenAck():
                self._check_terms(body.options)
            case Heartbeat(echo=True):
                if not self.unanswered or self.unanswered.pop(0) != body.timestamp:
                    raise WireError("echo of a heartbeat that was not sent, or not in order")
                self.echoes += 1
            case CloseStream():
                self.close_reason = body.reason
                if body.reason == CloseReason.COMPLETE:
                    self._check_end(body.options.digest or self.granted.digest)

    def _check_terms(self, granted: Options) -> None:
        self.granted = granted
        if (granted.start or 0) != (self.asked.start or 0):
            raise WireError(f"starts at {granted.start}, {self.asked.start} was asked for")
        if self.asked.title and granted.title not in (None, self.asked.title):
            raise WireError(f"sends {granted.title!r}, {self.asked.title!r} was asked for")
        if granted.live and granted.size is not None:
            raise WireError("live, and yet of a known size")

    def _check_end(self, digest: bytes | None) -> None:
        end = (self.granted.start or 0) + self.bytes
        if self.granted.size not in (None, end):
            raise WireError(f"ends at {end} bytes, {self.granted.size} were announced")
        saved_from_the_start = self.output.tell() == end
        if digest and saved_from_the_start and importlib.util.find_spec("blake3"):
            self.output.flush()
            saved = importlib.import_module("blake3").blake3(Path(self.output.name).read_bytes())
            if saved.digest() != digest:
                raise WireError(f"the digest of what was sent is {saved.hexdigest()}")

    # What scenarios are made of

    async def titles(self) -> list[Options]:
        self.send(ListTitles())
        titles: list[Options] = []
        for pdus in itertools.count(1):
            reply = await self.until(ListReply)
            for entry in reply.entries:
                if entry.title is None:
                    raise WireError("an entry without a title")
                emit("entry", **entry.described())
            titles += reply.entries
            if not reply.more:
                emit("list_end", entries=len(titles), pdus=pdus)
                break
        return titles

    async def stop(self) -> None:
        self.send(CloseStream(CloseReason.CLIENT_DONE), fin=True)
        await self.until_end()

    async def expect_refusal_then_play(self, code: int, options: argparse.Namespace) -> None:
        await self.expect_refusal(code)
        await self.open(offer(options))
        await self.until_end()


def offer(arguments: argparse.Namespace, **options: Any) -> OpenStream:
    return OpenStream(options=Options(**{"title": arguments.title, "rate": arguments.rate} | options))


Scenario = Callable[[V2Client, argparse.Namespace], Awaitable[None]]


async def normal(client: V2Client, options: argparse.Namespace) -> None:
    await client.open(offer(options, start=options.start, validator=options.validator))
    if options.pause_at:
        await client.until_chunk(options.pause_at)
        await client.paused_for(options.pause_for)
    await client.until_end()


async def list_titles(client: V2Client, _: argparse.Namespace) -> None:
    await client.titles()
    client.stream.send(b"", fin=True)


async def list_then_open(client: V2Client, options: argparse.Namespace) -> None:
    titles = await client.titles()
    await client.open(offer(options, title=options.title or titles[0].title))
    await client.until_end()


async def resume(client: V2Client, options: argparse.Namespace) -> None:
    await client.open(offer(options))
    await client.until_chunk(3)
    await client.stop()
    rest = client.another()
    await rest.open(offer(options, start=client.bytes, validator=client.granted.validator))
    await rest.until_end()


async def elsewhere(client: V2Client, options: argparse.Namespace) -> None:
    """Has a part of the media, maybe of another server, and comes back for as long as it is compared."""
    rest = offer(options, start=options.start, validator=options.validator, digest=options.digest)
    while True:
        try:
            await client.open(rest)
            return await client.until_end()
        except Refused as refusal:
            if not (isinstance(refusal.nack, OpenNack) and refusal.nack.options.retry_after):
                return
            await asyncio.sleep(refusal.nack.options.retry_after)


async def wrong_validator(client: V2Client, options: argparse.Namespace) -> None:
    client.offer(offer(options, start=options.start or 1, validator=options.validator or WRONG_VALIDATOR))
    await client.expect_refusal(NackCode.MEDIA_CHANGED)


async def past_end(client: V2Client, options: argparse.Namespace) -> None:
    await client.open(offer(options))
    await client.stop()
    size = client.granted.size
    if size is None:
        raise WireError("no TOTAL_SIZE")
    end = client.another()
    end.offer(offer(options, start=size + 1))
    await end.expect_refusal(NackCode.PAST_THE_END)
    await end.open(offer(options, start=size, validator=client.granted.validator))
    await end.until_end()
    if end.chunks or end.close_reason != CloseReason.COMPLETE:
        raise WireError(f"{end.chunks} chunks from the end, closed for reason {end.close_reason}")


async def no_such_title(client: V2Client, options: argparse.Namespace) -> None:
    client.offer(offer(options, title="no such title/at all.mp4"))
    nack = await client.expect_refusal(NackCode.NO_SUCH_TITLE)
    if not (isinstance(nack, OpenNack) and nack.options.reason):
        raise WireError("OPEN_NACK without a REASON")


BATCH = 15


async def hostile_titles(client: V2Client, options: argparse.Namespace) -> None:
    """As many as a server puts up with on one connection."""
    begin = options.batch * BATCH
    for title in json.loads(options.titles.read_bytes())[begin : begin + BATCH]:
        client.offer(offer(options, title=title))
        try:
            await client.until(OpenAck)
        except Refused:
            continue
        raise WireError(f"{title!r} was accepted")


async def wrong_session(client: V2Client, options: argparse.Namespace) -> None:
    await client.open(offer(options))
    client.send_pdu(Pdu.of(PauseStream(), client.session_id ^ 1))
    await client.expect_termination()
    if client.close_reason not in (None, CloseReason.PROTOCOL_VIOLATION):
        raise WireError(f"closed for reason {client.close_reason}")


async def duplicate_option(client: V2Client, options: argparse.Namespace) -> None:
    title = options.title or "title"
    client.offer(offer(options, title=title, raw=Options(title=title).encode()))
    await client.expect_refusal_then_play(NackCode.PROTOCOL_VIOLATION, options)


async def truncated_option(client: V2Client, options: argparse.Namespace) -> None:
    client.offer(offer(options, raw=OPTION.pack(TYPES["title"], 65535)))
    await client.expect_refusal_then_play(NackCode.PROTOCOL_VIOLATION, options)


async def unknown_options(client: V2Client, options: argparse.Namespace) -> None:
    await client.open(offer(options, raw=UNKNOWN_OPTIONS))
    await client.until_end()


async def bad_codec(client: V2Client, options: argparse.Namespace) -> None:
    client.offer(replace(offer(options), codec="mpeg1"))
    await client.expect_refusal_then_play(NackCode.UNSUPPORTED_CODEC, options)


async def echo(client: V2Client, options: argparse.Namespace) -> None:
    """One heartbeat at a time, so that only the last one can meet a session that has ended."""
    await client.open(offer(options))
    sent = 0
    while not client.ended:
        if isinstance(await client.receive(), StreamChunk) and not client.unanswered:
            client.send(Heartbeat(LARGEST_TIMESTAMP - sent))
            sent += 1
    emit("heartbeats", sent=sent, answered=client.echoes)
    if not client.echoes:
        raise WireError("no heartbeat came back")


async def early_close(client: V2Client, options: argparse.Namespace) -> None:
    await client.open(offer(options))
    await client.until_chunk(2)
    await client.stop()


SCENARIOS: dict[str, Scenario] = {
    "normal": normal,
    "list": list_titles,
    "list-then-open": list_then_open,
    "resume": resume,
    "elsewhere": elsewhere,
    "wrong-validator": wrong_validator,
    "past-end": past_end,
    "no-such-title": no_such_title,
    "hostile-titles": hostile_titles,
    "wrong-session": wrong_session,
    "duplicate-option": duplicate_option,
    "truncated-option": truncated_option,
    "unknown-options": unknown_options,
    "bad-codec": bad_codec,
    "echo": echo,
    "early-close": early_close,
}


def arguments() -> argparse.Namespace:
    arguments = parser(__doc__, SCENARIOS)
    arguments.add_argument("--title")
    arguments.add_argument("--start", type=int, metavar="BYTE")
    arguments.add_argument("--validator", type=bytes.fromhex, metavar="HEX")
    arguments.add_argument("--digest", type=bytes.fromhex, metavar="HEX", help="that of the media of which a part is there")
    arguments.add_argument("--rate", type=int, metavar="BPS")
    arguments.add_argument("--pause-at", type=int, default=0, metavar="SEQ", help="default: do not pause")
    arguments.add_argument("--pause-for", type=float, default=2.0, metavar="SECONDS")
    arguments.add_argument("--batch", type=int, default=0, metavar="N", help=f"which {BATCH} of the titles")
    arguments.add_argument("--titles", type=Path, help="JSON array; \\udcXX stands for a byte XX that is no UTF-8")
    return arguments.parse_args()


if __name__ == "__main__":
    run(play(V2Client, SCENARIOS, arguments()))
