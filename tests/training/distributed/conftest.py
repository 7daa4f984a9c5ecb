from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hosts import Hosts, loopback


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts on this machine."""
    with loopback(tmp_path, 2) as made:
        yield made
