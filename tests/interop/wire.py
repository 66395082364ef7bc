"""The bytes of the quicstream wire protocol, written from its specification alone.

It has nothing in common with the Rust implementation, so that a misreading of the specification on one side shows on
the other.
"""

import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

VERSION_1 = 1

HEADER = struct.Struct(">BBBBII")  # version, type, flags, reserved, session_id, body_length
MAX_BODY = 2 << 20  # no PDU is larger than a chunk, and no chunk larger than 1 MiB


class WireError(Exception):
    """The peer violated the protocol."""


class PduType(IntEnum):
    OPEN_STREAM = 1
    OPEN_ACK = 2
    OPEN_NACK = 3
    STREAM_CHUNK = 4
    PAUSE_STREAM = 5
    RESUME_STREAM = 6
    CLOSE_STREAM = 7
    HEARTBEAT = 8
    LIST = 9
    LIST_REPLY = 10


class NackCode(IntEnum):
    UNSUPPORTED_CODEC = 1
    UNSUPPORTED_ENCRYPTION = 2
    MULTICAST_UNSUPPORTED = 3
    NO_SUCH_TITLE = 4
    NOT_AUTHORISED = 5
    MEDIA_CHANGED = 6
    BUSY = 7
    PAST_THE_END = 8
    PROTOCOL_VIOLATION = 99


class CloseReason(IntEnum):
    COMPLETE = 0
    CLIENT_DONE = 1
    SHUTTING_DOWN = 2
    SESSION_TIMEOUT = 3
    MEDIA_FAILED = 4
    TOO_FAR_BEHIND = 5
    LIMIT = 6
    PROTOCOL_VIOLATION = 99


class Fields:
    """Reads a body from front to back."""

    def __init__(self, body: bytes, flags: int = 0) -> None:
        self.flags = flags  # of the header before it
        self._body = body
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._body)

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._body):
            raise WireError(f"body ends after {len(self._body)} bytes, {end} are needed")
        taken = self._body[self._position : end]
        self._position = end
        return taken

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self) -> str:
        (length,) = self.unpack(">H")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise WireError(f"text is not UTF-8: {error}") from error

    def finish(self) -> None:
        if self:
            raise WireError(f"{len(self._body) - self._position} bytes too many at the end of the body")


class Body:
    """What stands behind the header of one type of PDU: nothing, unless a subclass says otherwise."""

    type: ClassVar[PduType]

    @property
    def flags(self) -> int:
        return 0

    def encode(self) -> bytes:
        return b""

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        return cls()

    def described(self) -> dict[str, object]:
        """What the test is told of it."""
        return dict(vars(self))


@dataclass(frozen=True)
class OpenStream(Body):
    type: ClassVar = PduType.OPEN_STREAM
    codec: str = "h264"
    profile: str = "baseline"
    bitrates: tuple[int, ...] = (240_000, 480_000)
    encryption: int = 0
    delivery: int = 0

    def encode(self) -> bytes:
        texts = b"".join(struct.pack(">H", len(text)) + text for text in (self.codec.encode(), self.profile.encode()))
        bitrates = struct.pack(f">B{len(self.bitrates)}I", len(self.bitrates), *self.bitrates)
        return texts + bitrates + struct.pack(">BB", self.encryption, self.delivery)

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        codec, profile = fields.text(), fields.text()
        (count,) = fields.unpack(">B")
        return cls(codec, profile, fields.unpack(f">{count}I"), *fields.unpack(">BB"))


@dataclass(frozen=True)
class OpenAck(Body):
    type: ClassVar = PduType.OPEN_ACK
    bitrate: int
    max_chunk_size: int
    keepalive: int
    timeout: int

    def encode(self) -> bytes:
        return struct.pack(">4I", self.bitrate, self.max_chunk_size, self.keepalive, self.timeout)

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        return cls(*fields.unpack(">4I"))

    def described(self) -> dict[str, object]:
        return {
            "bitrate": self.bitrate,
            "chunk": self.max_chunk_size,
            "keepalive": self.keepalive,
            "timeout": self.timeout,
        }


@dataclass(frozen=True)
class OpenNack(Body):
    type: ClassVar = PduType.OPEN_NACK
    code: int

    def encode(self) -> bytes:
        return struct.pack(">H", self.code)

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        return cls(*fields.unpack(">H"))


@dataclass(frozen=True)
class StreamChunk(Body):
    type: ClassVar = PduType.STREAM_CHUNK
    seq: int
    payload: bytes

    def encode(self) -> bytes:
        return struct.pack(">II", self.seq, len(self.payload)) + self.payload

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        seq, payload_length = fields.unpack(">II")
        return cls(seq, fields.take(payload_length))

    def described(self) -> dict[str, object]:
        return {"seq": self.seq, "bytes": len(self.payload)}


@dataclass(frozen=True)
class Heartbeat(Body):
    type: ClassVar = PduType.HEARTBEAT
    timestamp: int

    @classmethod
    def now(cls) -> Self:
        return cls(time.time_ns() // 1_000_000)

    def encode(self) -> bytes:
        return struct.pack(">Q", self.timestamp)

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        return cls(*fields.unpack(">Q"))


@dataclass(frozen=True)
class PauseStream(Body):
    type: ClassVar = PduType.PAUSE_STREAM


@dataclass(frozen=True)
class ResumeStream(Body):
    type: ClassVar = PduType.RESUME_STREAM


@dataclass(frozen=True)
class CloseStream(Body):
    type: ClassVar = PduType.CLOSE_STREAM


BODIES: dict[int, type[Body]] = {
    body.type: body
    for body in (OpenStream, OpenAck, OpenNack, StreamChunk, PauseStream, ResumeStream, CloseStream, Heartbeat)
}


@dataclass(frozen=True)
class Pdu:
    """Header and body, the body not yet looked into; `type` may be one that this version does not know.

    This class is version 1; each other version is a subclass.
    """

    alpn: ClassVar = "quic-stream-proto"
    bodies: ClassVar[Mapping[int, type[Body]]] = BODIES

    type: int
    body: bytes = b""
    session_id: int = 0
    version: int = VERSION_1
    flags: int = 0

    @classmethod
    def of(cls, body: Body, session_id: int) -> Self:
        return cls(body.type, body.encode(), session_id, flags=body.flags)

    @property
    def name(self) -> str:
        return PduType(self.type).name if self.type in self.bodies else f"UNKNOWN_{self.type}"

    def encode(self) -> bytes:
        return HEADER.pack(self.version, self.type, self.flags, 0, self.session_id, len(self.body)) + self.body

    def parse(self) -> Body | None:
        """Returns None for a type that is to be skipped."""
        if self.type not in self.bodies:
            return None
        fields = Fields(self.body, self.flags)
        body = self.bodies[self.type].decode(fields)
        fields.finish()
        return body


class Decoder:
    """Cuts a stream of bytes, in whatever pieces it arrives, into PDUs of one version."""

    def __init__(self, pdu: type[Pdu]) -> None:
        self._pdu = pdu
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Pdu]:
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            version, type_, flags, _reserved, session_id, body_length = HEADER.unpack_from(self._buffer)
            if version != self._pdu.version:
                raise WireError(f"header version {version}, expected {self._pdu.version}")
            if body_length > MAX_BODY:
                raise WireError(f"body of {body_length} bytes is over the limit")
            end = HEADER.size + body_length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield self._pdu(type_, body, session_id, version, flags)

    def finish(self) -> None:
        if self._buffer:
            raise WireError("the stream ends within a PDU")
