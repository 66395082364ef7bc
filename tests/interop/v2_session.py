"""What a version 2 server has beside a server of either version (`server.py`)."""

import hashlib
import itertools
import mimetypes
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import wire
from peer import emit
from server import Session, State
from v2_wire import CloseStream, Heartbeat, ListReply, ListTitles, OpenAck, OpenNack, OpenStream, Options, Pdu
from wire import Body, CloseReason, NackCode, StreamChunk, WireError


def nack(code: int, **options: Any) -> OpenNack:
    return OpenNack(code, Options(reason=NackCode(code).name.lower().replace("_", " "), **options))


class V2Session(Session):
    """A good server's side of one stream."""

    pdu = Pdu
    _opens: ClassVar = itertools.count(1)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._assigned, self.session_id = self.session_id, 0
        self.number = 0  # of the latest OPEN_STREAM here among all that the server was sent
        self.asked = Options()
        self._bytes = 0
        self._end_told = False

    # What subclasses change

    def granted(self) -> Options:
        media = self.media.getvalue()
        return Options(
            title=self.options.title,
            start=self.asked.start,
            validator=hashlib.sha256(media).digest()[:16],
            size=len(media),
            media_type=mimetypes.guess_type(self.options.title)[0] or "application/octet-stream",
            rate=self.asked.rate or 0,
            digest=self.options.digest,
        )

    def refusal(self, offer: wire.OpenStream) -> wire.OpenNack | None:
        if refused := super().refusal(offer):
            return nack(refused.code)
        here = self.granted()
        if self.asked.title not in (None, here.title):
            return nack(NackCode.NO_SUCH_TITLE)
        if self.asked.start is not None and self.asked.validator not in (None, here.validator):
            return nack(NackCode.MEDIA_CHANGED)
        if self.asked.start is not None and self.asked.start > len(self.media.getvalue()):
            return nack(NackCode.PAST_THE_END)
        return None

    def closing(self, reason: int) -> CloseStream:
        text = CloseReason(reason).name.lower().replace("_", " ") if reason else None
        return CloseStream(reason, Options(reason=text))

    def list_replies(self) -> Iterator[ListReply]:
        title = self.granted()
        yield ListReply((Options(title=title.title, size=title.size, media_type=title.media_type),))

    # What the base class leaves open

    def answer(self, offer: wire.OpenStream) -> None:
        assert isinstance(offer, OpenStream), "as version 2 decodes it"
        self.number = next(self._opens)
        self.asked = offer.options
        super().answer(offer)

    def acknowledge(self) -> None:
        self.session_id = self._assigned
        granted = self.granted()
        self.media.seek(granted.start or 0)
        self.send(OpenAck(**vars(self.terms), options=granted))

    def send(self, body: Body) -> None:
        if isinstance(body, StreamChunk) and self.stream.is_open:
            self._bytes += len(body.payload)
        super().send(body)

    def heartbeat(self) -> None:
        self.send(Heartbeat.now())

    def received(self, pdu: wire.Pdu) -> None:
        if pdu.session_id != self.session_id:
            raise WireError(f"{pdu.name} with session id {pdu.session_id}, not {self.session_id}")
        super().received(pdu)

    def handle(self, body: Body | None) -> None:
        match body:
            case ListTitles():
                for reply in self.list_replies():
                    self.send(reply)
            case Heartbeat():
                if not body.echo and not self.mute:
                    self.send(replace(body, echo=True))
            case _:
                super().handle(body)

    def finished(self) -> None:
        if self.state is State.IDLE:  # the client only wanted the list
            self.stream.send(b"", fin=True)
            self.state = State.CLOSED

    def violated(self, error: WireError) -> None:
        self.close(CloseReason.PROTOCOL_VIOLATION)
        super().violated(error)

    def close(self, reason: int = CloseReason.COMPLETE) -> None:
        super().close(reason)
        self.tell_end()

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self.tell_end()

    def tell_end(self) -> None:
        if self.session_id and not self._end_told:
            self._end_told = True
            emit("session_end", session=self.session_id, bytes=self._bytes)
