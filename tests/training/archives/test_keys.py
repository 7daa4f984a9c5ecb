from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mme_training.archives.keys import (
    Version,
    check_name,
    latest_versions,
    next_version,
    parse,
)
from mme_training.errors import UserError

NAMES = st.from_regex(r"[!-\-0-~][ -.0-~]{0,30}", fullmatch=True)
NUMBERS = st.integers(1, 10**18 - 1)
DIGESTS = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
VERSIONS = st.builds(Version, NAMES, NUMBERS, st.none()) | st.builds(
    Version, PATHS, NUMBERS, DIGESTS
)
STYLES = st.sampled_from(["digest", "v"])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@given(VERSIONS)
def test_a_key_reads_back_as_its_version(version: Version) -> None:
    assert parse(version.key) == version


@given(st.text(max_size=60) | st.from_regex(r"[a-z/_v0-9.-]{0,40}\.tar\.gz", fullmatch=True))
def test_what_is_read_is_written_the_same(key: str) -> None:
    version = parse(key)
    assert version is None or version.key == key


@pytest.mark.parametrize(
    ("key", "version"),
    [
        ("Chicago_IL/3-0123456789ab.tar.gz", Version("Chicago_IL", 3, "0123456789ab")),
        ("Chicago_IL_v2.tar.gz", Version("Chicago_IL", 2)),
        ("a_v2_v10.tar.gz", Version("a_v2", 10)),
        ("Chicago_IL.tar.gz", None),
        ("Chicago_IL_v0.tar.gz", None),
        ("Chicago_IL_v02.tar.gz", None),
        ("a/b_v2.tar.gz", None),
        ("a/b/2-0123456789ab.tar.gz", Version("a/b", 2, "0123456789ab")),
        (
            "a/1-0123456789ab.tar.gz/2-0123456789ab.tar.gz",
            Version("a/1-0123456789ab.tar.gz", 2, "0123456789ab"),
        ),
        ("a//2-0123456789ab.tar.gz", None),
        ("/a/2-0123456789ab.tar.gz", None),
        ("a/../2-0123456789ab.tar.gz", None),
        ("a/./b/2-0123456789ab.tar.gz", None),
        ("a/3-0123456789AB.tar.gz", None),
        ("a/3-0123456789ab.tar.gz.part", None),
        (".a_v1.tar.gz", None),
        ("a_v1.tar.gz\n", None),
    ],
)
def test_keys(key: str, version: Version | None) -> None:
    assert parse(key) == version


@given(st.lists(st.binary(max_size=2), max_size=8), STYLES)
def test_versions_count_up_and_the_same_bytes_make_no_new_one(contents, style) -> None:
    keys: list[str] = ["other_v7.tar.gz", "city-2/9-0123456789ab.tar.gz", "unrelated.txt"]
    last = None
    for content in contents:
        before = latest_versions(keys, style).get("city")
        version = next_version("city", sha256(content), before, style)
        if style == "digest" and content == last:
            assert version.key in keys
            continue
        assert version.key not in keys
        keys.append(version.key)
        last = content
    numbers = [parse(key).number for key in keys[3:]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_highest_number_counts_and_not_the_last_text() -> None:
    keys = ["a_v9.tar.gz", "a_v10.tar.gz", "a/2-0123456789ab.tar.gz"]

    assert latest_versions(keys, "v") == {"a": Version("a", 10)}
    assert next_version("a", "f" * 64, Version("a", 10), "v") == Version("a", 11)


@pytest.mark.parametrize("name", ["", ".a", " a", "Köln", "a\n"])
@pytest.mark.parametrize("style", ["digest", "v"])
def test_names_that_cannot_be_in_a_key(name: str, style) -> None:
    with pytest.raises(UserError, match="cannot be the name of a model"):
        next_version(name, "0" * 64, style=style)


@pytest.mark.parametrize("name", ["a//b", "/a", "a/", "a/../b", "a/.", "..", "a/ b", "a/b\n"])
def test_folders_that_cannot_be_in_a_key(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a model"):
        next_version(name, "0" * 64)


def test_a_name_has_folders_in_keys_with_a_digest_alone() -> None:
    assert (
        next_version("company_a/houston", "0" * 64).key == f"company_a/houston/1-{'0' * 12}.tar.gz"
    )
    for refuse in (lambda: next_version("a/b", "0" * 64, style="v"), lambda: check_name("a/b")):
        with pytest.raises(UserError, match="cannot be the name of a model"):
            refuse()


@given(st.text("a/. \n-", max_size=8) | PATHS)
def test_a_name_is_one_that_a_key_gives_back(name: str) -> None:
    try:
        check_name(name, folders=True)
    except UserError:
        assert parse(f"{name}/1-0123456789ab.tar.gz") is None
    else:
        assert parse(f"{name}/1-0123456789ab.tar.gz") == Version(name, 1, "0123456789ab")
