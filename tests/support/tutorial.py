"""The tutorial's commands, run as somebody would type them, and what they say against its text."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"

_BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{8,}|\d[\d,.:]*|[─━═│┃┌┐└┘├┤┬┴┼╭╮╰╯|]+|\s+"
)
_MARK = "@@ block"


@dataclass(frozen=True)
class Block:
    """Commands, and what the page shows of their output."""

    heading: str
    commands: str
    shown: str = ""


def blocks() -> list[Block]:
    """All blocks of the page that are typed, in its order; the installation is not among them."""
    text = PAGE.read_text()
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        heading = re.findall(r"^#+ (.*)$", text[: match.start()], re.MULTILINE)[-1]
        match match["kind"]:
            case "sh":
                found.append(Block(heading, match["text"]))
            case "text":
                last = found[-1]
                found[-1] = Block(last.heading, last.commands, last.shown + match["text"])
            case kind:
                assert kind == "sh setup", f"a block of kind {kind!r} is not run"
    return found


def run(
    these: list[Block],
    directory: Path,
    environment: Mapping[str, str],
    within: tuple[str, ...] = (),
) -> list[str]:
    """Type the blocks into one shell; what each has said. A command that fails ends the test.

    Args:
        these: blocks.
        directory: that the shell starts in.
        environment: the shell's, but that it finds this environment's programs first.
        within: a command that the shell is started by.
    """
    script = "exec 2>&1\n" + "".join(  # each shell that a block starts is to end at a failure, too
        f"set -euo pipefail; echo $'\\n{_MARK} {number}'\n{block.commands}\n"
        for number, block in enumerate(these)
    )
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    shell = subprocess.Popen(
        [*within, "bash", "--noprofile", "--norc"],
        cwd=directory,
        env={**environment, "PATH": path},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(script, timeout=900)
    except BaseException:
        os.killpg(shell.pid, signal.SIGKILL)
        raise
    parts = re.split(rf"^{_MARK} \d+\n", said, flags=re.MULTILINE)[1:]
    assert shell.returncode == 0, said
    assert len(parts) == len(these), said
    return parts


def not_said(block: Block, said: str) -> Iterator[str]:
    """Lines that the page shows and the commands did not say; numbers and frames may differ."""
    heard = _plain(said)  # what is no terminal gets a body without the end of its line
    for line in block.shown.splitlines():
        if _plain(line) not in heard:
            yield line


def _plain(line: str) -> str:
    return _VARIES.sub(lambda found: "#" if found[0][0].isalnum() else " ", line).strip()
