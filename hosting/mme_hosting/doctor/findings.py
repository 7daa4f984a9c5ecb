"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    status: Status
    text: str
    """What is so."""
    fix: str = ""
    """What mends it: a command, where there is one."""
    subject: str = ""
    """What it is about."""


class SkipError(Exception):
    """A check cannot be made, and that is nobody's fault; says why."""


def ok(text: str) -> Finding:
    """All is well."""
    return Finding("ok", text)


def warning(text: str, fix: str = "") -> Finding:
    """It may work, or nobody can tell."""
    return Finding("warning", text, fix)


def failed(text: str, fix: str = "") -> Finding:
    """It will not work."""
    return Finding("failed", text, fix)
