"""The tutorial's first part, typed into a shell on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.local_up import environment
from support.tutorial import blocks, not_said, run


@pytest.mark.slow
def test_the_first_part_on_this_machine(tmp_path: Path) -> None:
    here = [block for block in blocks() if block.heading not in ("On AWS", "The end")]
    end = [block for block in blocks() if block.heading == "The end"]
    directory = tmp_path / "work"
    directory.mkdir()
    said = run(here + end, directory, environment(tmp_path / "run", MME_LOCAL_PORT="0"))
    for block, heard in zip(here + end, said, strict=True):
        missing = list(not_said(block, heard))
        assert not missing, f"{block.commands}\nsaid:\n{heard}"
    answers = [heard for block, heard in zip(here, said, strict=True) if "invoke" in block.commands]
    assert "cache miss" in answers[0]
    assert "cache hit" in answers[0]
