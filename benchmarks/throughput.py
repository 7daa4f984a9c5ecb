"""Requests per second over several connections: by wrk where it is installed, else in Python."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.measure import content_length, invocation
from benchmarks.models import Model
from benchmarks.server import HOST, BenchmarkError, Server

CONNECTIONS = 8

# wrk cuts what it is given into requests by itself; every call takes the next model.
SCRIPT = """\
local bodies, number = {}, 0
local names = {%(names)s}
local headers = {["Content-Type"] = "text/csv"}
init = function()
  for i, name in ipairs(names) do
    bodies[i] = wrk.format("POST", "/models/" .. name .. "/invoke", headers, "%(row)s")
  end
end
request = function()
  number = number %% #bodies + 1
  return bodies[number]
end
"""


def generator() -> str:
    """Name the load generator that will be used."""
    return "wrk" if shutil.which("wrk") else "python"


def requests_per_second(server: Server, models: list[Model], seconds: int, scratch: Path) -> float:
    """Keep a server busy for some seconds and return how many requests it answered in each."""
    if generator() == "wrk":
        return _by_wrk(server, models, seconds, scratch)
    return asyncio.run(_by_python(server, models, seconds))


def _by_wrk(server: Server, models: list[Model], seconds: int, scratch: Path) -> float:
    script = scratch / "invoke.lua"
    names = ", ".join(f'"{model.name}"' for model in models)
    script.write_text(SCRIPT % {"names": names, "row": models[0].row.decode()})
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://{HOST}:{server.port}/"],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise BenchmarkError(f"{server.name}: {done.stdout}")
    return float(rate[1])


async def _by_python(server: Server, models: list[Model], seconds: int) -> float:
    requests = itertools.cycle([invocation(model) for model in models])
    start = time.perf_counter()
    counts = await asyncio.gather(
        *(_client(server.port, requests, start + seconds) for _ in range(CONNECTIONS))
    )
    return sum(counts) / (time.perf_counter() - start)


async def _client(port: int, requests: itertools.cycle[bytes], end: float) -> int:
    reader, writer = await asyncio.open_connection(HOST, port)
    count = 0
    while time.perf_counter() < end:
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(content_length(head))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count
