"""A headless Chromium, the one of Debian, and the page in it.

Driven by Playwright: of the two drivers on PyPI it needs no second program of Chromium's exact
version, and it tells of consoles, requests and media without a protocol of our own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from support.page_server import PageServer, World, page_server

# A busy machine is slow, and not wrong.
expect.set_options(timeout=30_000)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# Of a module: while Playwright runs, a loop runs in this thread, and other tests start their own.
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("no Chromium: install Debian's chromium (apt-get install chromium)")
    profile: Path = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=program,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
            reduced_motion="reduce",
            color_scheme="light",
        )
        yield context
        context.close()


@pytest.fixture
def world() -> World:
    """A busy one, five seconds old."""
    world = World(time.time() - 5).busy()
    for _ in range(5):
        world.tick()
    return world


@pytest.fixture
def server(world: World) -> Iterator[PageServer]:
    with page_server(world) as server:
        yield server


Complaints = list[str]


@pytest.fixture
def complaints() -> Complaints:
    """What the browser found wrong with the page, and where it asked but at the page's server."""
    return []


@pytest.fixture
def visit(
    browser: BrowserContext, complaints: Complaints
) -> Iterator[Callable[[PageServer], Page]]:
    """Opens the page of a server and waits for its first state."""
    pages: list[Page] = []

    def visit(server: PageServer) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "console",
            lambda line: line.type in ("error", "warning") and complaints.append(line.text),
        )
        page.on(
            "request",
            lambda request: (
                request.url.startswith(f"{server.url}/")
                or complaints.append(f"request to {request.url}")
            ),
        )
        page.goto(server.url)
        page.locator("#link[data-state=live]").wait_for()
        return page

    yield visit
    for page in pages:
        page.close()


@pytest.fixture
def page(visit: Callable[[PageServer], Page], server: PageServer) -> Page:
    return visit(server)
