from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme_training.archives.pack import (
    CHECK_NAME,
    MODEL_NAME,
    ArchiveError,
    is_junk,
    pack,
    salvage,
    unpack,
)

NAMES = st.from_regex(r"[a-z]{1,8}/[a-z ]{0,150}[a-z]\.py", fullmatch=True)
FILES = st.dictionaries(NAMES, st.binary(max_size=3000), max_size=4)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def write_archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            info.size = 4 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(b"evil"))
    return path


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@settings(max_examples=25)
@given(model=st.binary(max_size=3000), files=FILES)
def test_what_is_packed_is_unpacked(tmp_path_factory, model: bytes, files) -> None:
    root = tmp_path_factory.mktemp("round")
    extra = {
        name: write(root / "in" / str(number), content)
        for number, (name, content) in enumerate(files.items())
    }
    pack(write(root / "model", model), root / "a.tar.gz", extra)
    unpack(root / "a.tar.gz", root / "new" / "out")

    out = root / "new" / "out"
    found = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    assert found == {MODEL_NAME: model, **files}


@settings(max_examples=25)
@given(model=st.binary(max_size=3000), files=FILES, when=st.integers(1, 2**31))
def test_the_same_files_give_the_same_bytes(
    tmp_path_factory, model: bytes, files, when: int
) -> None:
    root = tmp_path_factory.mktemp("same")
    first = {name: write(root / "1" / name, content) for name, content in files.items()}
    second = {name: write(root / "2" / name, files[name]) for name in reversed(files)}
    pack(write(root / "model", model), root / "a.tar.gz", first)
    other = write(root / "elsewhere" / "model-2", model)
    for path in (other, *second.values()):
        os.utime(path, (when, when))
        path.chmod(0o700)
    pack(other, root / "b.tar.gz", second)
    assert (root / "a.tar.gz").read_bytes() == (root / "b.tar.gz").read_bytes()


def test_headers_hold_nothing_of_the_machine(tmp_path) -> None:
    extra = {"code/inference.py": write(tmp_path / "mine.py", b"pass")}
    pack(write(tmp_path / "m", b"trees"), tmp_path / "a.tar.gz", extra)

    assert (tmp_path / "a.tar.gz").read_bytes()[3:8] == bytes(5)  # no flags, no time
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert tar.getnames() == ["code/inference.py", "model.ubj"]
        for info in tar.getmembers():
            assert (info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o644)
            assert (info.uname, info.gname) == ("", "")


def test_a_failed_pack_leaves_the_old_archive(tmp_path) -> None:
    model = write(tmp_path / "m", b"trees")
    pack(model, tmp_path / "a.tar.gz")
    before = (tmp_path / "a.tar.gz").read_bytes()
    with pytest.raises(FileNotFoundError):
        pack(model, tmp_path / "a.tar.gz", {"z.py": tmp_path / "missing"})
    assert (tmp_path / "a.tar.gz").read_bytes() == before
    assert tree(tmp_path) == {"m", "a.tar.gz"}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../x", "/x", "./x", "a//x", "x/", MODEL_NAME]
)
def test_unusable_names_are_not_packed(tmp_path, name: str) -> None:
    model = write(tmp_path / "m", b"trees")
    with pytest.raises(ArchiveError):
        pack(model, tmp_path / "a.tar.gz", {name: model})
    assert tree(tmp_path) == {"m"}


@pytest.mark.parametrize(
    "hostile",
    [
        [member("../evil")],
        [member("code/../../evil")],
        [member("/tmp/evil-absolute-member")],
        [member("link", tarfile.SYMTYPE, "/etc/passwd")],
        [member("link", tarfile.SYMTYPE, "model.ubj")],
        [member("link", tarfile.SYMTYPE, ".."), member("link/evil")],
        [member("link", tarfile.LNKTYPE, "../evil")],
        [member("link", tarfile.LNKTYPE, "model.ubj")],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("device", tarfile.CHRTYPE)],
    ],
    ids=lambda members: "+".join(f"{info.name}->{info.linkname}" for info in members),
)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path, hostile) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", member(MODEL_NAME), *hostile)
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, tmp_path / "out")
    assert repr(hostile[0].name) in str(caught.value)
    assert tree(tmp_path) == {"a.tar.gz"}
    assert not Path("/tmp/evil-absolute-member").exists()


def test_a_link_already_in_the_directory_is_not_followed(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "out" / "code").symlink_to(tmp_path / "outside")
    archive = write_archive(tmp_path / "a.tar.gz", member("code/evil"))
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "outside") == set()


def test_archives_of_a_whole_directory_are_accepted(tmp_path) -> None:
    archive = write_archive(
        tmp_path / "a.tar.gz", member(".", tarfile.DIRTYPE), member("./model.ubj")
    )
    unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"model.ubj"}


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"not a tar" * 100)])
def test_what_is_no_archive_is_refused(tmp_path, content: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz cannot be extracted"):
        unpack(write(tmp_path / "a.tar.gz", content), tmp_path / "out")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_off_archive_is_refused(tmp_path, share: float) -> None:
    pack(write(tmp_path / "m", os.urandom(50_000)), tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    cut = write(tmp_path / "cut.tar.gz", whole[: int(len(whole) * share)])
    with pytest.raises(ArchiveError):
        unpack(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_an_os_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "missing.tar.gz", tmp_path / "out")


@pytest.mark.parametrize(("limit", "fits"), [(2_000_000, True), (1_999_999, False)])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, limit: int, fits: bool) -> None:
    pack(write(tmp_path / "m", bytes(2_000_000)), tmp_path / "a.tar.gz")
    assert (tmp_path / "a.tar.gz").stat().st_size < 10_000
    if fits:
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", limit)
        return
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz unpacks to more than 1,999,999 bytes"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out", limit)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 50 << 20
    content = info.tobuf(tarfile.USTAR_FORMAT) + bytes(50 << 20)
    archive = write(tmp_path / "a.tar.gz", gzip.compress(content, 1))
    with pytest.raises(ArchiveError, match="a header in it is larger"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_safe_is_salvaged(tmp_path) -> None:
    archive = write_archive(
        tmp_path / "a.tar.gz",
        member(MODEL_NAME),
        member("/etc/evil"),
        member("link", tarfile.SYMTYPE, ".."),
        member("link/evil"),
    )
    faults = salvage(archive, tmp_path / "out")

    assert [fault.name for fault in faults] == ["/etc/evil", "link"]
    assert str(faults[1]) == "'link' is neither a file nor a directory"
    assert tree(tmp_path) == {
        "a.tar.gz", "out", f"out/{MODEL_NAME}", "out/link", "out/link/evil",
    }  # fmt: skip


def test_check_rows_go_into_the_archive(tmp_path) -> None:
    check = write(tmp_path / "rows", b"a,prediction\n")
    pack(write(tmp_path / "m", b"trees"), tmp_path / "a.tar.gz", {}, check)
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / CHECK_NAME).read_bytes() == b"a,prediction\n"


@pytest.mark.parametrize(
    ("name", "junk"),
    [
        (".DS_Store", True),
        ("model/._model.ubj", True),
        ("code/__pycache__/x.cpython-311.pyc", True),
        ("code/old.pyc", True),
        ("code/inference.py~", True),
        ("__MACOSX/model.ubj", True),
        ("code/.git/config", True),
        ("model.ubj", False),
        ("code/lib/pycache.py", False),
    ],
)
def test_junk(name: str, junk: bool) -> None:
    assert is_junk(name) == junk
