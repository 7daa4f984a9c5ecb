from __future__ import annotations

import gzip
import io
import os
import resource
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from mme_local.platform.archive import ArchiveError, extract
from support.archives import link, tar

LARGEST = 1 << 20


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def nested(tmp_path: Path) -> tuple[Path, Path]:
    place = tmp_path / "place"
    place.mkdir()
    return tmp_path / "archive.tar.gz", place / "model"


def refuse(archive: Path, into: Path, because: str, largest: int = LARGEST) -> None:
    """The archive is refused, and nothing is left of it."""
    around = sorted(into.parent.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=because) as caught:
        extract(archive, into, largest)
    assert sorted(into.parent.parent.rglob("*")) == around
    assert str(into.parent) not in str(caught.value)


def test_files_and_directories_are_unpacked(tmp_path: Path) -> None:
    archive, into = nested(tmp_path)
    with tarfile.open(archive, "w:gz") as file:
        (tmp_path / "a").write_bytes(b"one")
        file.add(tmp_path / "a", "./model.json")
        file.add(tmp_path / "a", "code/inference.py")
    assert extract(archive, into, LARGEST) == 6
    assert (into / "model.json").read_bytes() == b"one"
    assert (into / "code" / "inference.py").read_bytes() == b"one"
    assert into.stat().st_mode & 0o777 == 0o755
    assert list(into.parent.iterdir()) == [into]


def test_an_empty_directory_may_be_there_already(tmp_path: Path) -> None:
    archive, into = nested(tmp_path)
    into.mkdir()
    extract(tar(archive, {"model.json": b"{}"}), into, LARGEST)
    assert (into / "model.json").exists()


@pytest.mark.parametrize(
    ("name", "member", "because"),
    [
        ("a", link("a", "/etc/passwd"), "'a' is a link"),
        ("a", link("a", "b"), "is a link"),
        ("a", special("a", tarfile.LNKTYPE, "model.json"), "is a link"),
        ("../a", b"x", "outside"),
        ("b/../../a", b"x", "outside"),
        ("b/..", b"x", "outside"),
        ("/tmp/a", b"x", "outside"),
        ("a", special("a", tarfile.CHRTYPE), "neither a file nor"),
        ("a", special("a", tarfile.BLKTYPE), "neither a file nor"),
        ("a", special("a", tarfile.FIFOTYPE), "neither a file nor"),
        ("model.json/a", b"x", "cannot be unpacked: Not a directory"),
        ("n" * 300, b"x", "cannot be unpacked: File name too long"),
    ],
)
def test_hostile_members_are_refused(
    tmp_path: Path, name: str, member: bytes | tarfile.TarInfo, because: str
) -> None:
    archive, into = nested(tmp_path)
    refuse(tar(archive, {"model.json": b"{}", name: member}), into, because)


def test_what_follows_a_link_is_not_written_through_it(tmp_path: Path) -> None:
    archive, into = nested(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    refuse(tar(archive, {"a": link("a", str(outside)), "a/b": b"x"}), into, "is a link")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip at all",
        gzip.compress(b""),
        gzip.compress(b"no tar at all" * 100),
        gzip.compress(bytes(10_240)),
        b"PK\x03\x04" + bytes(100),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    archive, into = nested(tmp_path)
    archive.write_bytes(content)
    refuse(archive, into, "it is no tar.gz archive")


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    archive, into = nested(tmp_path)
    tar(archive, {"a": os.urandom(50_000), "b": os.urandom(50_000)})
    whole = archive.read_bytes()
    archive.write_bytes(whole[:60_000])
    refuse(archive, into, "damaged")
    archive.write_bytes(whole[:70_000] + b"x" + whole[70_001:])
    refuse(archive, into, "damaged")


class Zeros(io.RawIOBase):
    """A file of zeros that takes no memory."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


@pytest.fixture(scope="module")
def ten_gigabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar.gz that claims 10 GB of zeros, and has enough of them to matter."""
    path = tmp_path_factory.mktemp("zeros") / "zeros.tar.gz"
    info = tarfile.TarInfo("model.json")
    info.size = 10 << 30
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    return path


def test_ten_gigabytes_of_zeros_are_refused_unwritten(tmp_path: Path, ten_gigabytes: Path) -> None:
    _, into = nested(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_oublock
    refuse(ten_gigabytes, into, "more than 5,368,709,120 bytes", largest=5 << 30)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_oublock - before < 1000


def test_many_small_files_add_up(tmp_path: Path) -> None:
    archive, into = nested(tmp_path)
    tar(archive, {f"{number}": bytes(1000) for number in range(700)})
    refuse(archive, into, "more than 1,048,576 bytes")
    with pytest.raises(ArchiveError, match="more than 600 members"):
        extract(archive, into, 10 << 20, most_members=600)
    assert not list(into.parent.iterdir())


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_of_gigabytes_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    archive, into = nested(tmp_path)
    info = special("././@LongLink", kind)
    info.size = 4 << 30
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(b"n" * (1 << 20))
    tracemalloc.start()
    try:
        refuse(archive, into, "header is too large")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_memory_stays_small_for_a_large_file(tmp_path: Path) -> None:
    archive, into = nested(tmp_path)
    info = tarfile.TarInfo("model.json")
    info.size = 50 << 20
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.addfile(info, Zeros(info.size))
    tracemalloc.start()
    try:
        assert extract(archive, into, 100 << 20) == info.size
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert (into / "model.json").stat().st_size == info.size
