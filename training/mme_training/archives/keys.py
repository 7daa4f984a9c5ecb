"""Names of a model's versions below an S3 prefix, so that a new version never replaces an old one.

Two styles: ``Chicago_IL/3-0123456789ab.tar.gz`` has the version's number and the first 12 digits of
the SHA-256 of the archive's bytes, and its name may have folders; ``Chicago_IL_v3.tar.gz`` the
number alone, as AWS's notebooks on multi-model endpoints have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from mme_training.errors import UserError

Style = Literal["digest", "v"]

SUFFIX: Final = ".tar.gz"

_DIGITS: Final = 12
# Printable ASCII, as SageMaker wants it of a target model; a leading dot hides a file.
_SEGMENT: Final = r"[!-\-0-~][ -.0-~]*"
_NAMES: Final[dict[Style, str]] = {
    "digest": rf"(?P<name>{_SEGMENT}(?:/{_SEGMENT})*)",
    "v": rf"(?P<name>{_SEGMENT})",
}
_NUMBER: Final = r"(?P<number>[1-9][0-9]{0,17})"
_PATTERNS: Final[dict[Style, re.Pattern[str]]] = {
    "digest": re.compile(
        rf"{_NAMES['digest']}/{_NUMBER}-(?P<digest>[0-9a-f]{{{_DIGITS}}}){re.escape(SUFFIX)}"
    ),
    "v": re.compile(rf"{_NAMES['v']}_v{_NUMBER}{re.escape(SUFFIX)}"),
}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model. `digest` is None where the key does not tell it."""

    name: str
    number: int
    digest: str | None = None
    """The first 12 digits of the SHA-256 of the archive's bytes."""

    @property
    def style(self) -> Style:
        """How the key is written."""
        return "v" if self.digest is None else "digest"

    @property
    def key(self) -> str:
        """The key, relative to the prefix: what a request names as its target model."""
        if self.digest is None:
            return f"{self.name}_v{self.number}{SUFFIX}"
        return f"{self.name}/{self.number}-{self.digest}{SUFFIX}"


def parse(key: str) -> Version | None:
    """The version that `key`, relative to the prefix, stands for; None if of neither style."""
    for style, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(key):
            digest = match["digest"] if style == "digest" else None
            return Version(match["name"], int(match["number"]), digest)
    return None


def latest_versions(keys: Iterable[str], style: Style) -> dict[str, Version]:
    """The highest version of each model among `keys`, by the model's name; of `style` alone."""
    found: dict[str, Version] = {}
    for key in keys:
        version = parse(key)
        if version is None or version.style != style:
            continue
        before = found.get(version.name)
        if before is None or version.number > before.number:
            found[version.name] = version
    return found


def next_version(
    name: str, sha256: str, latest: Version | None = None, style: Style = "digest"
) -> Version:
    """The version to upload an archive as.

    In the style ``digest`` it is the latest itself if that has the same bytes; in the style ``v``
    the key does not tell, and whoever uploads compares the bytes.

    Args:
        name: of the model.
        sha256: of the archive's bytes, 64 hex digits.
        latest: its latest version of this style, if there is one: see `latest_versions`.
        style: of the key.

    Raises:
        UserError: `name` cannot be part of a key.
    """
    check_name(name, folders=style == "digest")
    digest = sha256[:_DIGITS] if style == "digest" else None
    if latest and digest and latest.digest == digest:
        return latest
    return Version(name, latest.number + 1 if latest else 1, digest)


def check_name(name: str, *, folders: bool = False) -> None:
    """Refuse a name that cannot stand in a key.

    Args:
        name: of a model.
        folders: whether it may be within some, as ``company_a/houston``.

    Raises:
        UserError: it is empty, has a slash, a leading dot or space, or other than printable ASCII;
            with folders, a part of it.
    """
    if not re.fullmatch(_NAMES["digest" if folders else "v"], name):
        slashes = "; between slashes stands such a name, too" if folders and "/" in name else ""
        raise UserError(
            f"{name!r} cannot be the name of a model: use letters, digits, dots, hyphens and "
            f"underscores, and begin with no dot{slashes}"
        )
