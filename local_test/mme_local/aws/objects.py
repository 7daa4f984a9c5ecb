"""Large S3 objects in moto without holding them in memory.

moto reads an object whole for each request, also for a range of it: ten threads that download a
gigabyte by ranges take ten gigabytes. Here an object is a file that is mapped, and sent in pieces.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any, Final, cast

from moto.s3 import models
from moto.s3.exceptions import EntityTooSmall, InvalidPart, MalformedXML
from moto.s3.utils import compute_checksum
from moto.settings import S3_UPLOAD_PART_MIN_SIZE
from moto.utilities.utils import md5_hash

PIECE: Final = 1 << 20
"""Bytes that are copied or sent at a time."""


class MappedObject(mmap.mmap):
    """The bytes of an object in a file: a buffer, and in pieces what a server sends."""

    def __iter__(self) -> Iterator[Any]:
        return self.pieces(0, len(self))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1 and stop - start > PIECE:
                return Part(self, start, stop)
        return super().__getitem__(key)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop`, at most `PIECE` at a time."""
        for at in range(start, stop, PIECE):
            yield super().__getitem__(slice(at, min(at + PIECE, stop)))


class Part:
    """A range of an object, to be sent."""

    def __init__(self, whole: MappedObject, start: int, stop: int) -> None:
        self._whole, self._start, self._stop = whole, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[bytes]:
        return self._whole.pieces(self._start, self._stop)


def _mapped(descriptor: int) -> bytes:
    """The content of an open file, for moto: it asks for bytes and does with less."""
    return cast("bytes", MappedObject(descriptor, 0, access=mmap.ACCESS_READ))


class Living(weakref.WeakSet[Any]):
    """In place of moto's lists of all that was ever made, which keep it for ever."""

    append = weakref.WeakSet.add


class StoredObject(models.FakeKey):
    """moto's object; a large one is mapped where moto would read it whole.

    Requests that are reading it, or telling of it, may go on when it is replaced or deleted.
    """

    @property
    def value(self) -> bytes:
        """What is stored: bytes, or a `MappedObject`, which moto takes for such."""
        buffer = self._value_buffer
        with self.lock:
            if self.contentsize <= PIECE:
                buffer.seek(0)
                return buffer.read()
            buffer.flush()
            return _mapped(buffer.fileno())

    @value.setter
    def value(self, new: bytes | str) -> None:
        content = new.encode() if isinstance(new, str) else new
        buffer = self._value_buffer
        buffer.seek(0)
        buffer.truncate()
        for at in range(0, len(content), PIECE):
            buffer.write(content[at : at + PIECE])
        self.contentsize = len(content)
        # Now, and not by the first two threads that ask for it, at once from one file.
        _ = self.etag

    def dispose(self, garbage: bool = False) -> None:
        """Close the file only as garbage, which is when nobody has the object any more.

        The number of a file that is closed before may be another object's by the time it is mapped.
        """
        if garbage:
            self.close()
        self.disposed = True

    def close(self) -> None:
        """Give back what it takes on the disk, in memory or as an open file."""
        with contextlib.suppress(AttributeError), self.lock:  # it may never have been made in full
            self._value_buffer.close()


class StoredUpload(models.FakeMultipart):
    """moto's upload in parts; they are put together in a file."""

    def complete(self, body: Any) -> tuple[bytes, str, tuple[str, str, int] | None]:
        """Put the parts together: the content, the entity tag, and the checksum."""
        checksum = models.MultipartChecksumBuilder(
            self.metadata.get("x-amz-checksum-algorithm"),
            self.metadata.get("x-amz-checksum-type"),
        )
        digests, parts = bytearray(), self._named(body)
        with tempfile.TemporaryFile() as whole:
            for part in parts:
                digests += bytes.fromhex(part.etag.strip('"'))
                content = part.value
                for at in range(0, len(content), PIECE):
                    whole.write(content[at : at + PIECE])
                if checksum.checksum_type == "COMPOSITE":
                    checksum.addPart(content)
                cast("StoredObject", part).close()
            whole.flush()
            joined = _mapped(whole.fileno()) if whole.tell() else b""
        tag = f"{md5_hash(bytes(digests)).hexdigest()}-{len(parts)}"
        if checksum.checksum_type == "COMPOSITE":
            return joined, tag, checksum.build()
        digest = compute_checksum(joined, checksum.checksum_algorithm).decode()
        return joined, tag, (checksum.checksum_type, digest, 1)

    def _named(self, body: Any) -> list[models.FakeKey]:
        """The parts that the client names, in its order."""
        named: list[models.FakeKey] = []
        for number, tag in body:
            part = self.parts.get(number)
            if part is None or part.etag.strip('"') != tag.strip('"'):
                raise InvalidPart()
            if named and named[-1].contentsize < S3_UPLOAD_PART_MIN_SIZE:
                raise EntityTooSmall()
            named.append(part)
        if not named:
            raise MalformedXML
        return named


def install() -> None:
    """Have moto's S3 in this process store its objects so."""
    models.FakeKey = StoredObject  # type: ignore[misc]
    models.FakeMultipart = StoredUpload  # type: ignore[misc]
    for stored in (StoredObject, StoredUpload):
        stored.instances_tracked = Living()  # type: ignore[union-attr]
