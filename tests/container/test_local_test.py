"""local_test/README.md: each of its blocks is run, in order, and shows what it says it shows."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from docker.errors import NotFound

from support.serving import free_port

pytestmark = pytest.mark.container

ROOT = Path(__file__).parents[2]
README = (ROOT / "local_test/README.md").read_text()
NUMBER = r"(?<![0-9a-z])\d[\d.]*(?![0-9a-z])"


@pytest.fixture
def shell(engine, image, tmp_path):
    """Run a block of the README elsewhere than it says; return what it wrote."""
    name = f"mme-local-test-{os.getpid()}"
    settings = {
        "IMAGE": image,
        "WORK": str(tmp_path),
        "PORT": str(free_port()),
        "NAME": name,
    }

    def run(block: str) -> str:
        block = block.replace("/tmp/mme", str(tmp_path)).replace("xgboost-mme:cpu", image)
        block = re.sub(r"\bmme$", name, block, flags=re.MULTILINE)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace("localhost:8080", local)],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        print(f"{block}\n{done.stdout}")  # noqa: T201
        assert done.returncode == 0, done.stdout
        return done.stdout.replace(local, "localhost:8080")

    local = f"localhost:{settings['PORT']}"
    yield run
    try:
        container = engine.containers.get(name)
    except NotFound:
        return
    print(container.logs().decode())  # noqa: T201
    container.remove(force=True)


def same(shown: str, line: str) -> bool:
    """Whether a line is the one shown, but for a few percent of its numbers."""
    if re.split(NUMBER, shown) != re.split(NUMBER, line):
        return False
    expected = [float(number.rstrip(".")) for number in re.findall(NUMBER, shown)]
    found = [float(number.rstrip(".")) for number in re.findall(NUMBER, line)]
    return found == pytest.approx(expected, rel=0.02)


def test_every_block_of_the_readme_runs_and_shows_what_it_says(shell):
    blocks = re.findall(r"(?s)```sh\n(.*?)```", README)
    assert len(blocks) == 7
    for block in blocks:
        lines = iter(shell(block).splitlines())
        for shown in re.findall(r"(?m)^# (.*)$", block):
            assert any(same(shown, line) for line in lines), shown


def test_every_script_is_in_the_table_with_its_arguments():
    scripts = {path.name for path in (ROOT / "local_test").glob("*.sh")}
    assert set(re.findall(r"(?m)^\| \[(\w+\.sh)\]\(\1\)", README)) == scripts
    for name in scripts:
        text = (ROOT / "local_test" / name).read_text()
        assert os.access(ROOT / "local_test" / name, os.X_OK)
        assert re.search(rf"(?m)^#   local_test/{name}", text), "no usage"
        assert "set -euo pipefail" in text


def test_the_payloads_say_the_same(server, make_model):
    model = server.add(make_model())
    kinds = {
        "csv": "text/csv",
        "json": "application/json",
        "jsonl": "application/jsonlines",
        "libsvm": "text/libsvm",
    }
    payloads = sorted((ROOT / "local_test/payloads").iterdir())
    assert {path.suffix[1:] for path in payloads} == set(kinds)
    answers = [
        server.invoke(model.name, path.read_bytes(), kinds[path.suffix[1:]]) for path in payloads
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert all(a.json() == b.json() for a, b in pairwise(answers))
