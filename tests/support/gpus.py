"""GPUs that are not there: a stand-in for the driver, and for XGBoost with CUDA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).with_name("fake_gpu")
GB = 10**9


def uuid(number: int) -> str:
    return f"GPU-{number}c0ffee-0000-0000-0000-00000000000{number}"


class FakeGpus:
    """The GPUs that ``fake_gpu`` shows; changes hold from the next call on, in every process."""

    def __init__(self, directory: Path, count: int = 2) -> None:
        self.file = directory / "gpus.json"
        self.calls_file = directory / "calls"
        self.state: dict[str, Any] = {
            "driver": "535.183.01",
            "cuda": 12020,
            "fails": None,
            "devices": [
                {
                    "uuid": uuid(number),
                    "name": "Tesla T4",
                    "total": 16 * GB,
                    "used": GB // 2,
                    "capability": [7, 5],
                }
                for number in range(count)
            ],
        }
        self.write()

    def write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.state))
        new.replace(self.file)

    def use(self, number: int, used: int) -> None:
        """Have `used` bytes of a GPU be in use."""
        self.state["devices"][number]["used"] = used
        self.write()

    def fail(self, text: str | None) -> None:
        """Have every prediction on a GPU fail with `text`, or none."""
        self.state["fails"] = text
        self.write()

    def calls(self) -> list[dict[str, Any]]:
        """Each prediction: the process, and what it saw of the GPUs."""
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]
