"""Script mode: the user's own program, run as SageMaker runs it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from support.training_job import TrainingJob

SCRIPT = """
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("--max_depth", type=int)
parser.add_argument("--objective")
arguments, rest = parser.parse_known_args()
import beside
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "seen.json").write_text(json.dumps({
    "max_depth": arguments.max_depth,
    "objective": arguments.objective,
    "train": os.environ["SM_CHANNEL_TRAIN"],
    "beside": beside.VALUE,
    "cwd": os.getcwd(),
}))
print("out"); print("err", file=sys.stderr)
"""


def _job(root: Path, script: str, **hyperparameters: Any) -> TrainingJob:
    job = TrainingJob(root, hyperparameters, train="text/csv", code=None)
    (job.channel("code") / "train.py").write_text(script)
    (job.channel("code") / "beside.py").write_text("VALUE = 7\n")
    return job


def test_a_script_trains(tmp_path) -> None:
    job = _job(tmp_path, SCRIPT, objective='"reg:squarederror"')
    done = job.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((job.model / "seen.json").read_text()) == {
        "max_depth": 5,
        "objective": "reg:squarederror",
        "train": str(job.channel("train")),
        "beside": 7,
        "cwd": str(job.channel("code")),
    }
    assert "out" in done.stdout.splitlines()
    assert "err" in done.stderr.splitlines()
    assert job.failure is None


def test_the_failure_of_a_script_ends_with_its_own_words(tmp_path) -> None:
    job = _job(tmp_path, "import sys\nraise KeyError('PRICE')\n")
    assert job.run().returncode == 1
    assert job.failure is not None
    assert job.failure.startswith("train.py ended with status 1: KeyError: 'PRICE'\nTraceback")


def test_the_status_of_a_script_is_the_jobs(tmp_path) -> None:
    job = _job(tmp_path, "raise SystemExit(17)\n")
    assert job.run().returncode == 17
    assert job.failure == "train.py ended with status 17"


def test_a_script_that_is_killed_is_named(tmp_path) -> None:
    job = _job(tmp_path, "import os\nos.kill(os.getpid(), 9)\n")
    assert job.run().returncode == 137
    assert job.failure == "train.py ended by SIGKILL"


def test_a_script_hears_of_the_end(tmp_path) -> None:
    job = _job(
        tmp_path,
        "import os, pathlib, signal, time\n"
        "def end(*_):\n"
        "    pathlib.Path(os.environ['SM_MODEL_DIR'], 'so-far').touch()\n"
        "    raise SystemExit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n",
    )
    process = job.start()
    assert process.stdout is not None
    assert any("ready" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()
    assert (job.model / "so-far").exists()


def test_requirements_that_cannot_be_installed_are_the_failure(tmp_path) -> None:
    job = _job(tmp_path, SCRIPT)
    (job.channel("code") / "requirements.txt").write_text("./no-such-directory\n")
    assert job.run().returncode == 1
    assert job.failure is not None
    assert job.failure.startswith("requirements.txt cannot be installed: Invalid requirement:")


def test_a_shell_script_runs_too(tmp_path) -> None:
    job = _job(tmp_path, "", sagemaker_program="go.sh")
    (job.channel("code") / "go.sh").write_text('echo "$2" > "$SM_MODEL_DIR/first"\n')
    assert job.run().returncode == 0
    assert (job.model / "first").read_text() == "0.2\n"


def test_what_a_script_leaves_running_does_not_keep_the_job(tmp_path) -> None:
    job = _job(
        tmp_path,
        "import os, pathlib, subprocess\n"
        "left = subprocess.Popen(['sleep', '300'], stdout=subprocess.DEVNULL)\n"
        "pathlib.Path(os.environ['SM_MODEL_DIR'], 'pid').write_text(str(left.pid))\n",
    )
    try:
        assert job.run().returncode == 0
    finally:
        os.kill(int((job.model / "pid").read_text()), signal.SIGKILL)


def test_progress_without_an_end_of_line_is_seen_at_once(tmp_path) -> None:
    job = _job(
        tmp_path,
        "import sys, time\nprint('half', end='\\r', file=sys.stderr, flush=True)\ntime.sleep(60)\n",
    )
    process = job.start()
    try:
        assert process.stdout is not None
        seen = b""
        while b"half\r" not in seen:
            seen += os.read(process.stdout.fileno(), 4096)
    finally:
        process.terminate()
        assert process.wait(30) == 143
        process.stdout.close()
    assert job.failure is not None
    assert job.failure.startswith("train.py ended by SIGTERM: half")
