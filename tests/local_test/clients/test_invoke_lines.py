"""The line of the AWS CLI that `mme invoke --aws` prints, pasted into a shell."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.clients import AWS_CLI
from support.hosted import archive, host, mme

HOUSE = "100,3,20,5,48,9"


@pytest.fixture(scope="module")
def hosted(local):
    host(local, "houses", {"Chicago_IL.tar.gz": archive()})
    return local


@pytest.mark.slow
@pytest.mark.parametrize("how", ["data", "file", "stdin", "output"])
def test_it_answers_as_the_request_does(hosted, client, tmp_path, how):
    file, out = tmp_path / "it's my rows.csv", tmp_path / "out $x"
    file.write_text(HOUSE)
    given = {
        "data": ("--data", HOUSE),
        "file": ("--file", file),
        "stdin": ("--file", "-"),
        "output": ("--data", HOUSE, "--output", out),
    }[how]
    options = ("--accept", "text/csv", "--attributes", "output=margin; a='b'", *given)
    asked = mme(
        hosted,
        *("invoke", "Chicago_IL.tar.gz", "--name", "houses", *options),
        stdin=HOUSE.encode(),
    )
    expected = out.read_bytes() if how == "output" else asked.stdout
    out.unlink(missing_ok=True)
    line = mme(hosted, "invoke", "Chicago_IL.tar.gz", "--name", "houses", *options, "--aws")
    done = subprocess.run(
        ["bash", "-c", line.stdout.decode()],
        input=HOUSE.encode(),
        capture_output=True,
        env={"PATH": f"{client(AWS_CLI)}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(expected) > 0
    assert (out.read_bytes() if how == "output" else done.stdout) == expected
