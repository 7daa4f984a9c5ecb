"""The page's routes, by a real server and a plain client."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time

import httpx
import pytest

from mme_local.events import Events
from mme_local.page.routes import STATIC, server_sent
from support.page_server import PageServer


def get(server: PageServer, path: str) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False)


def test_all_files_that_the_page_names_are_there(server: PageServer) -> None:
    page = get(server, "/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(named) == 3
    for path in named:
        assert get(server, path).status_code == 200


def test_the_page_needs_nothing_inline(server: PageServer) -> None:
    page = get(server, "/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|<script>|\sstyle=|\son\w+=|https?:", page.text)


@pytest.mark.parametrize(
    "path",
    ["/", "/_mme/state", "/_mme/logs?group=a&stream=b", "/_mme/page/page.js"],
)
def test_every_answer_carries_the_headers(server: PageServer, path: str) -> None:
    headers = get(server, path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_no_file_but_the_page_s(server: PageServer) -> None:
    for path in ("/_mme/page/../routes.py", "/_mme/page/%2e%2e/routes.py", "/_mme/page/"):
        assert get(server, path).status_code == 404


def test_the_state(server: PageServer) -> None:
    answer = get(server, "/_mme/state")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(server.world.state()))


def test_a_number_that_is_none_is_null(server: PageServer) -> None:
    server.world.jobs[0]["metrics"]["train:rmse"] = float("nan")
    assert get(server, "/_mme/state").json()["training_jobs"][0]["metrics"]["train:rmse"] is None


def test_the_log(server: PageServer) -> None:
    for number in range(3):
        server.do(server.world.log, "/g", f"s/{number}", f"line {number}")
    answer = get(server, "/_mme/logs?group=/g&stream=s/").json()
    assert [event["message"] for event in answer["events"]] == ["line 0", "line 1", "line 2"]
    server.do(server.world.log, "/g", "s/9", "line 3")
    more = get(server, f"/_mme/logs?group=/g&stream=s/&after={answer['next']}").json()
    assert [event["message"] for event in more["events"]] == ["line 3"]


def test_a_log_of_no_name(server: PageServer) -> None:
    answer = get(server, "/_mme/logs?group=/g")
    assert answer.status_code == 400
    assert answer.json() == {"message": "/_mme/logs needs ?group= and &stream="}


def test_events_as_they_come(server: PageServer) -> None:
    lines: list[str] = []
    heard = threading.Event()
    with httpx.stream("GET", f"{server.url}/_mme/events", trust_env=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            lines.append(line)
            if line == ": connected":
                server.do(server.world.emit, "model loaded", target_model="a\nb.tar.gz")
            if line.startswith("data:"):
                heard.set()
                break
    assert heard.is_set()
    event = json.loads(lines[-1].removeprefix("data: "))
    assert (event["kind"], event["target_model"]) == ("model loaded", "a\nb.tar.gz")


def test_who_goes_is_forgotten(server: PageServer) -> None:
    listeners = server.world.events._listeners
    with httpx.stream("GET", f"{server.url}/_mme/events", trust_env=False) as answer:
        lines = answer.iter_lines()
        next(lines)
        end = time.monotonic() + 5
        while len(listeners) != 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(listeners) == 1
    end = time.monotonic() + 5
    while listeners and time.monotonic() < end:
        time.sleep(0.01)
    assert not listeners


def test_a_server_that_stops_ends_the_stream(server: PageServer) -> None:
    with httpx.stream("GET", f"{server.url}/_mme/events", trust_env=False) as answer:
        lines = answer.iter_lines()
        next(lines)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 3
        assert list(lines)[1:] == []


def test_heartbeat() -> None:
    asyncio.run(_heartbeat())


async def _heartbeat() -> None:
    stream = server_sent(Events(), asyncio.Event(), heartbeat=0.01)
    assert [await anext(stream) for _ in range(2)] == [b": connected\n\n", b": nothing new\n\n"]
    await stream.aclose()


def test_no_file_is_left_out() -> None:
    """Each module is imported by another or by the page."""
    text = "".join(path.read_text() for path in STATIC.iterdir())
    for path in STATIC.glob("*.js"):
        assert f'"./{path.name}"' in text or f"/{path.name}" in text
