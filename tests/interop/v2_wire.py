"""What version 2 of the wire protocol adds: options, reasons, a catalogue, and echoes of heartbeats."""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import wire
from wire import BODIES, Body, CloseReason, Fields, PduType, WireError

VERSION_2 = 2
OPTION = struct.Struct(">HH")  # type, length
FLAG = 1  # the only one: an echo in HEARTBEAT, more to follow in LIST_REPLY
BLAKE3 = 1


def option(type_: int, value: bytes) -> bytes:
    return OPTION.pack(type_, len(value)) + value


UNKNOWN_OPTIONS = b"".join(option(1000 + n, bytes(length)) for n, length in enumerate((0, 1, 8, 600)))


class Format(NamedTuple):
    """How the value of an option looks, on both sides; `decode` raises ValueError for what it must not be."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def integer(layout: str) -> Format:
    numbers = struct.Struct(layout)

    def decode(value: bytes) -> int:
        if len(value) != numbers.size:
            raise ValueError(f"{len(value)} bytes, not {numbers.size}")
        number: int = numbers.unpack(value)[0]
        return number

    return Format(numbers.pack, decode)


def opaque(least: int, most: int) -> Format:
    def decode(value: bytes) -> bytes:
        if not least <= len(value) <= most:
            raise ValueError(f"{len(value)} bytes, not {least} to {most}")
        return value

    return Format(bytes, decode)


def text(least: int, most: int) -> Format:
    limited = opaque(least, most)
    # A script sends what is no UTF-8 as surrogate escapes.
    return Format(lambda value: value.encode(errors="surrogateescape"), lambda value: limited.decode(value).decode())


def title(value: bytes) -> str:
    name: str = text(1, 255).decode(value)
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"no relative path: {name!r}")
    return name


def digest(value: bytes) -> bytes:
    if len(value) != 33 or value[0] != BLAKE3:
        raise ValueError(f"no BLAKE3-256 digest: {value.hex()}")
    return value[1:]


# The index is the type less 1; the names are those of the fields of Options.
FORMATS = {
    "title": text(1, 255)._replace(decode=title),
    "start": integer(">Q"),
    "validator": opaque(1, 64),
    "size": integer(">Q"),
    "media_type": text(1, 65535),
    "token": opaque(0, 4096),
    "rate": integer(">Q"),
    "reason": text(0, 512),
    "live": Format(lambda _: b"", lambda value: opaque(0, 0).decode(value) == b""),
    "digest": Format(lambda value: bytes([BLAKE3]) + value, digest),
    "retry_after": integer(">I"),
    "bitrate": integer(">I"),
}
TYPES = {name: type_ for type_, name in enumerate(FORMATS, 1)}
NAMES = {type_: name for name, type_ in TYPES.items()}


@dataclass(frozen=True)
class Options:
    title: str | None = None
    start: int | None = None
    validator: bytes | None = None
    size: int | None = None
    media_type: str | None = None
    token: bytes | None = None
    rate: int | None = None
    reason: str | None = None
    live: bool | None = None
    digest: bytes | None = None
    retry_after: int | None = None
    bitrate: int | None = None
    raw: bytes = b""  # sent before the others: what no field can say, and what is no valid option

    def encode(self) -> bytes:
        return self.raw + b"".join(option(TYPES[name], FORMATS[name].encode(value)) for name, value in self._known())

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        seen: set[int] = set()
        known: dict[str, Any] = {}
        while fields:
            type_, length = fields.unpack(OPTION.format)
            value = fields.take(length)
            if type_ in seen:
                raise WireError(f"option {type_} twice")
            seen.add(type_)
            if name := NAMES.get(type_):
                try:
                    known[name] = FORMATS[name].decode(value)
                except ValueError as error:
                    raise WireError(f"option {name}: {error}") from error
        return cls(**known)

    def described(self) -> dict[str, object]:
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in self._known()}

    def _known(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name in FORMATS if (value := getattr(self, name)) is not None)


@dataclass(frozen=True)
class WithOptions(Body):
    """Goes before another body among the bases of a class, and stands behind it on the wire."""

    options: Options = Options()

    def encode(self) -> bytes:
        return super().encode() + self.options.encode()

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        return replace(super().decode(fields), options=Options.decode(fields))

    def described(self) -> dict[str, object]:
        control = super().described()
        control.pop("options", None)
        return control | self.options.described()


@dataclass(frozen=True)
class OpenStream(WithOptions, wire.OpenStream):
    pass


@dataclass(frozen=True)
class OpenAck(WithOptions, wire.OpenAck):
    pass


@dataclass(frozen=True)
class OpenNack(WithOptions, wire.OpenNack):
    pass


@dataclass(frozen=True)
class CloseStream(wire.CloseStream):
    reason: int = CloseReason.COMPLETE
    options: Options = Options()

    def encode(self) -> bytes:
        return struct.pack(">H", self.reason) + self.options.encode()

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        (reason,) = fields.unpack(">H")
        return cls(reason, Options.decode(fields))

    def described(self) -> dict[str, object]:
        options = self.options.described()
        text = {"text": options.pop("reason")} if self.options.reason is not None else {}
        return {"reason": self.reason} | text | options


@dataclass(frozen=True)
class Heartbeat(wire.Heartbeat):
    echo: bool = False

    @property
    def flags(self) -> int:
        return FLAG if self.echo else 0

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        (timestamp,) = fields.unpack(">Q")
        return cls(timestamp, echo=bool(fields.flags & FLAG))


@dataclass(frozen=True)
class ListTitles(WithOptions):
    type: ClassVar = PduType.LIST


@dataclass(frozen=True)
class ListReply(Body):
    type: ClassVar = PduType.LIST_REPLY
    entries: tuple[Options, ...]
    more: bool = False

    @property
    def flags(self) -> int:
        return FLAG if self.more else 0

    def encode(self) -> bytes:
        entries = (entry.encode() for entry in self.entries)
        return struct.pack(">I", len(self.entries)) + b"".join(
            struct.pack(">H", len(entry)) + entry for entry in entries
        )

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        (count,) = fields.unpack(">I")
        entries = (Fields(fields.take(*fields.unpack(">H"))) for _ in range(count))
        return cls(tuple(Options.decode(entry) for entry in entries), more=bool(fields.flags & FLAG))


@dataclass(frozen=True)
class Pdu(wire.Pdu):
    alpn: ClassVar = "quicstream/2"
    bodies: ClassVar[Mapping[int, type[Body]]] = BODIES | {
        body.type: body for body in (OpenStream, OpenAck, OpenNack, CloseStream, Heartbeat, ListTitles, ListReply)
    }

    version: int = VERSION_2
