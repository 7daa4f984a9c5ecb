"""What came of a run: lines for a person as it goes, and JSON for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

import orjson
from rich.console import Console
from rich.markup import escape

from mme_local.conformance.registry import Check, Result, Status

_STYLES: Final = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.WARN: "yellow",
    Status.SKIPPED: "dim",
}


def show_result(console: Console, result: Result) -> None:
    """A line for a check, and where it is not as it should be, what the contract says."""
    style, check = _STYLES[result.status], result.check
    seconds = f"{result.seconds:5.1f} s"
    line = f"[{style}]{result.status:<7}[/] {check.id:<30} [dim]{seconds}[/]  {escape(result.seen)}"
    console.print(line, soft_wrap=True, highlight=False)
    if result.status in (Status.FAIL, Status.WARN):
        for label, text in (("expected", check.expected), ("clause", str(check.clause))):
            console.print(f"{'':8}{label}: {escape(text)}", soft_wrap=True, highlight=False)


def show_summary(console: Console, target: str, results: Sequence[Result]) -> None:
    """How many of each."""
    counts = Counter(result.status for result in results)
    told = ", ".join(
        f"[{_STYLES[status]}]{counts[status]} {status}[/]" for status in Status if counts[status]
    )
    seconds = sum(result.seconds for result in results)
    console.print(f"{escape(target)}: {told or 'no checks'} in {seconds:.0f} s", highlight=False)


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """What each check expects, and where that is from."""
    for check in checks:
        origin = "seen in practice: " if check.clause.seen_in_practice else ""
        expected = check.expected + (" (else a warning)" if check.advisory else "")
        console.print(f"[bold]{check.id}[/]: {escape(expected)}", soft_wrap=True, highlight=False)
        console.print(f"  [dim]{origin}{check.clause.url}[/]", soft_wrap=True, highlight=False)


def failed(results: Sequence[Result]) -> bool:
    """Whether the contract is broken."""
    return any(result.status is Status.FAIL for result in results)


def as_json(target: str, results: Sequence[Result]) -> bytes:
    """The report as JSON: `target`, `version`, `seconds`, `summary` and `checks`."""
    counts = Counter(result.status for result in results)
    document = {
        "target": target,
        "version": version("xgboost-mme"),
        "seconds": round(sum(result.seconds for result in results), 3),
        "summary": {status.value: counts[status] for status in Status},
        "checks": [_entry(result) for result in results],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _entry(result: Result) -> dict[str, Any]:
    check = result.check
    return {
        "id": check.id,
        "status": result.status.value,
        "expected": check.expected,
        "seen": result.seen,
        "seconds": round(result.seconds, 3),
        "advisory": check.advisory,
        "clause": {
            "text": check.clause.text,
            "url": check.clause.url,
            "seen_in_practice": check.clause.seen_in_practice,
        },
    }
