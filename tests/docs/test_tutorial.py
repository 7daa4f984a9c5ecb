"""The tutorial's first part, typed into a shell on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.local_up import environment
from support.tutorial import blocks, not_said, run


@pytest.mark.slow
def test_the_first_part_on_this_machine(tmp_path: Path) -> None:
    typed = [block for block in blocks() if block.heading != "On AWS"]
    directory = tmp_path / "work"
    directory.mkdir()
    said = run(typed, directory, environment(tmp_path / "run", MME_LOCAL_PORT="0"))
    for block, heard in zip(typed, said, strict=True):
        assert not list(not_said(block, heard)), f"{block.commands}\nsaid:\n{heard}"
    answers = [
        heard for block, heard in zip(typed, said, strict=True) if "mme invoke" in block.commands
    ]
    assert answers[0].count("cache: miss") == 2
    assert answers[0].count("cache: hit") == 1
