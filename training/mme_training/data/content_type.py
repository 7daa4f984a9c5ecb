"""What the content type of a channel says, and what the first bytes of its files say."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum

from mme_training.errors import UserError


class Format(Enum):
    """A format of files; the value is the content type to set for it."""

    LIBSVM = "text/libsvm"
    CSV = "text/csv"
    PARQUET = "application/x-parquet"
    RECORDIO = "application/x-recordio-protobuf"
    ARROW_FILE = "application/vnd.apache.arrow.file"
    ARROW_STREAM = "application/vnd.apache.arrow.stream"


_ALIASES = {
    "libsvm": Format.LIBSVM,
    "text/x-libsvm": Format.LIBSVM,
    "application/x-libsvm": Format.LIBSVM,
    "csv": Format.CSV,
    "parquet": Format.PARQUET,
    "recordio-protobuf": Format.RECORDIO,
    **{format_.value: format_ for format_ in Format},
}
_SHOWN = {
    Format.LIBSVM: "libsvm",
    Format.CSV: "CSV",
    Format.PARQUET: "a Parquet file",
    Format.RECORDIO: "recordio-protobuf",
    Format.ARROW_FILE: "an Arrow file",
    Format.ARROW_STREAM: "an Arrow stream",
}
_MAGIC = {
    b"PAR1": Format.PARQUET,
    b"ARROW1": Format.ARROW_FILE,
    b"\xff\xff\xff\xff": Format.ARROW_STREAM,
    b"\x0a\x23\xd7\xce": Format.RECORDIO,
}
_TEXT = (Format.LIBSVM, Format.CSV)
_LABELS = (Format.CSV, Format.PARQUET, Format.ARROW_FILE, Format.ARROW_STREAM)

_PAIR = re.compile(rb"(?:qid|\d+):\S")
_NUMBER = re.compile(rb"[-+\d.naNA]")


@dataclass(frozen=True, slots=True)
class ContentType:
    """The content type of a channel."""

    format: Format
    label_size: int = 1
    """How many columns at the beginning are labels."""
    charset: str = "utf-8"
    given: str | None = None


def parse(given: str | None) -> ContentType:
    """Read ``text/csv; label_size=2``; None means libsvm, as in SageMaker's own image.

    Parameters but for `label_size` and `charset` are ignored.

    Raises:
        UserError: the type is not known, or a parameter has no meaning for it.
    """
    if given is None or not given.strip():
        return ContentType(Format.LIBSVM)
    name, *pairs = (part.strip() for part in given.lower().split(";"))
    format_ = _ALIASES.get(name)
    if format_ is None:
        raise UserError(
            f"{given!r} is not a content type that is read; those are: "
            + ", ".join(sorted(_ALIASES))
        )
    parameters = {
        key.strip(): value.strip().strip('"')
        for key, _, value in (pair.partition("=") for pair in pairs)
    }
    return ContentType(
        format_,
        _label_size(parameters.get("label_size", "1"), format_, given),
        _charset(parameters.get("charset", "utf-8"), given),
        given,
    )


def check_head(head: bytes, content_type: ContentType, name: str) -> None:
    """Refuse a file that begins as one of another format does.

    Args:
        head: its first bytes, unpacked.
        content_type: of the channel.
        name: of the file, for the message.

    Raises:
        UserError: says which content type to set.
    """
    expected = content_type.format
    if head.startswith(b"PK\x03\x04"):
        raise UserError(f"{name} is a zip archive or an Excel workbook; save it as CSV or Parquet")
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if utf16 and expected in _TEXT and content_type.charset == "utf-8":
        raise UserError(
            f"{name} is UTF-16; save it as UTF-8, or set the content type to "
            f"{expected.value}; charset=utf-16"
        )
    found = next((f for magic, f in _MAGIC.items() if head.startswith(magic)), None)
    if found is None:
        found = _text_format(head)
    if found is None or found is expected:
        return
    said = (
        f"its channel's content type is {content_type.given!r}"
        if content_type.given
        else "its channel has no content type, which means libsvm"
    )
    raise UserError(
        f"{name} looks like {_SHOWN[found]}, but {said}; set the channel's ContentType to "
        f"{found.value}"
    )


def _text_format(head: bytes) -> Format | None:
    """The format that the first line of text shows; None if it could be either."""
    if b"\0" in head:
        return None
    lines = head.removeprefix(codecs.BOM_UTF8).splitlines(keepends=True)
    for line in lines:
        if not line.strip() or line.startswith(b"#"):
            continue
        cells = re.split(rb"[,;|\t ]", line.strip())
        # A time in a cell of CSV looks like a pair, so it takes the token after the label too.
        if b"," not in line and any(_PAIR.match(cell) for cell in cells[:3]):
            return Format.LIBSVM
        complete = line.endswith((b"\n", b"\r"))
        separated = any(mark in line for mark in (b",", b";", b"|"))
        numbers = len(cells) > 1 and complete and all(_NUMBER.match(cell) for cell in cells)
        return Format.CSV if (separated and b":" not in line) or numbers else None
    return None


def _label_size(text: str, format_: Format, given: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UserError(f"{given!r}: label_size must be a whole number of at least 1")
    if int(text) != 1 and format_ not in _LABELS:
        raise UserError(f"{given!r}: {format_.value} takes no label_size")
    return int(text)


def _charset(text: str, given: str) -> str:
    try:
        name = codecs.lookup(text).name
    except LookupError:
        raise UserError(f"{given!r}: {text!r} is not a known charset") from None
    return "utf-8" if name in ("ascii", "utf-8-sig") else name
