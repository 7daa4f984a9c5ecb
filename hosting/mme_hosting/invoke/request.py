"""A request to a target model: its body, and what is said of it in headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from mme_handler.codecs.registry import DEFAULT_CONTENT_TYPE
from mme_hosting.errors import HostingError

LARGEST: Final = 25 << 20
"""Bytes of a body that SageMaker takes:
https://docs.aws.amazon.com/sagemaker/latest/dg/hosting-faqs.html"""
STDIN: Final = Path("-")

CONTENT_TYPES: Final = {
    ".arrow": "application/vnd.apache.arrow.stream",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".libsvm": "text/libsvm",
    ".ndjson": "application/jsonlines",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".parquet": "application/x-parquet",
    ".pbr": "application/x-recordio-protobuf",
    ".recordio": "application/x-recordio-protobuf",
    ".svm": "text/libsvm",
}
"""What a file holds, by its suffix: all that the server reads."""

_PAIR: Final = re.compile(r"\s*[A-Za-z][\w.-]*\s*=")
_TRACE: Final = "trace=true"
_LONGEST_ATTRIBUTES: Final = 1024  # characters that InvokeEndpoint takes


@dataclass(frozen=True, slots=True)
class Request:
    """One invocation.

    Args:
        target: the target model: the archive's key, relative to the prefix of models.
        content_type: of the body.
        accept: of the answer; None leaves it to the model.
        attributes: custom attributes, as the user gives them.
        file: where the body comes from; `STDIN`, or None for `data`.
        data: the body itself.
    """

    target: str
    content_type: str
    accept: str | None = None
    attributes: str | None = None
    file: Path | None = None
    data: str = ""

    def __post_init__(self) -> None:
        for what in (self.target, self.content_type, self.accept or "", self.attributes or ""):
            if not what.isascii() or not what.isprintable():
                raise HostingError(f"a header cannot carry {what!r}: give printable ASCII")
        if len(self.attributes or "") > _LONGEST_ATTRIBUTES:
            raise HostingError(
                f"the custom attributes have {len(self.attributes or ''):,} characters, and "
                f"SageMaker takes {_LONGEST_ATTRIBUTES:,}"
            )

    @property
    def traced(self) -> str:
        """The attributes, with the one that asks the container whether the model was loaded.

        What is not made of ``name=value`` between semicolons belongs to a model's own code, and
        stays as it is.
        """
        if not self.attributes:
            return _TRACE
        parts = self.attributes.rstrip("; ").split(";")
        if not all(_PAIR.match(part) for part in parts):
            return self.attributes
        traced = ";".join((*parts, _TRACE))
        return traced if len(traced) <= _LONGEST_ATTRIBUTES else self.attributes

    def body(self, stdin: BinaryIO) -> bytes:
        """The bytes to send.

        Raises:
            HostingError: they cannot be read, or are more than SageMaker takes.
        """
        if self.file is None:
            body = self.data.encode(errors="surrogateescape")  # as it was on the command line
        elif self.file == STDIN:
            body = stdin.read(LARGEST + 1)
        else:
            body = _read(self.file)
        if len(body) > LARGEST:
            raise HostingError(
                f"the body has more than the {LARGEST >> 20} MB that SageMaker takes, or the 6 MB "
                "that older endpoints take: send fewer rows at a time"
            )
        return body


def content_type_of(file: Path | None) -> str:
    """The content type of a file, by its suffix; of text and standard input, CSV.

    Raises:
        HostingError: the suffix says nothing.
    """
    if file is None or file == STDIN:
        return DEFAULT_CONTENT_TYPE
    known = CONTENT_TYPES.get(file.suffix.lower())
    if known is None:
        raise HostingError(
            f"{file} has none of the suffixes {' '.join(CONTENT_TYPES)}: give --content-type"
        )
    return known


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise HostingError(f"{file} cannot be read: {error.strerror}") from None
