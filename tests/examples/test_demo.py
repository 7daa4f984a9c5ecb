import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mme_training.houses import CITIES

DEMO = Path(__file__).parents[2] / "examples/house_prices/demo.py"
# City, rows, predicted, actual, RMSE, cold load, warm p50, memory.
ROW = r"(?m)^ *{city} +100( +\d+,\d{{3}}){{3}} +\d+\.\d +\d+\.\d\d +\d+\.\d\d *$"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.run(
        [sys.executable, DEMO, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_it_runs_to_its_end_and_leaves_what_it_was_told_to_keep(tmp_path: Path):
    run = demo("--keep", str(tmp_path))

    assert run.returncode == 0, run.stdout + run.stderr
    for city in CITIES:
        assert re.search(ROW.format(city=city), run.stdout)
    for line in (
        "equals the trainer's prediction for the same row, bit for bit",
        "5 unloaded: they answer 404, the other 5 answer as before",
        "5 loaded again: all 10 answer as before",
        "SIGTERM, exit status 0",
        "All checks passed in ",
    ):
        assert line in run.stdout
    assert len(list(tmp_path.glob("models/archives/*.tar.gz"))) == 10
    assert "<svg" in (tmp_path / "models/report.html").read_text()
    unpacked = [path.parts[-3] for path in tmp_path.glob("opt/ml/models/*/model/model.ubj")]
    assert len(unpacked) == 10
    assert all(re.fullmatch("[0-9a-f]{64}", model_id) for model_id in unpacked)


@pytest.mark.slow
def test_a_server_that_cannot_start_is_a_failure_with_its_log(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MME_MEMORY_BUDGET", "plenty")

    run = demo("--keep", str(tmp_path))

    assert run.returncode == 1
    assert "'plenty' is not a size" in run.stderr
    assert "The demo failed: the server ended at once: " in run.stderr
