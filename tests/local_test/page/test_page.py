"""The page in Chromium: what it shows, keeps and says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from support.page_server import Instance, PageServer, Variant, World, page_server

pytestmark = pytest.mark.slow

Visit = Callable[[PageServer], Page]
HOUSES = "/aws/sagemaker/Endpoints/houses"


def polled(page: Page) -> None:
    """Wait until the page has shown a state that was asked for from now on."""
    for _ in range(2):
        with page.expect_response("**/_mme/state"):
            pass
    page.wait_for_timeout(50)


def test_endpoints(page: Page, complaints: list[str]) -> None:
    rows = page.locator("#endpoints tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(0)).to_contain_text("houses")
    expect(rows.nth(0)).to_contain_text("InService")
    expect(rows.nth(0)).to_contain_text("1 of 1")
    expect(rows.nth(0)).to_contain_text("4.00 GiB")
    expect(rows.nth(1)).to_contain_text("Updating")
    expect(rows.nth(2)).to_contain_text("0 of 1")
    expect(rows.nth(3)).to_contain_text("prices-v2")
    expect(rows.nth(3)).to_contain_text("Creating")
    assert complaints == []


def test_an_endpoint_that_is_chosen(page: Page, server: PageServer) -> None:
    blue = server.world.endpoints[1][2][0]
    page.get_by_role("button", name="Show churn, variant blue").click()
    expect(page.locator("#map-title")).to_have_text("Loaded models · churn / blue")
    expect(page.locator(".box")).to_have_count(len(blue.instances[0].loaded))
    expect(page.locator("#log-source option:checked")).to_have_text("churn / blue")
    polled(page)
    expect(page.locator("#map-title")).to_have_text("Loaded models · churn / blue")


def test_an_endpoint_that_goes(page: Page, server: PageServer) -> None:
    page.get_by_role("button", name="Show churn, variant blue").click()
    server.do(server.world.endpoints.pop, 1)
    expect(page.locator("#map-title")).to_have_text("Loaded models · houses / AllTraffic")
    expect(page.locator("#endpoints tbody tr")).to_have_count(2)


def test_training_jobs(page: Page, server: PageServer) -> None:
    jobs = page.locator(".job")
    expect(jobs).to_have_count(4)
    expect(jobs.nth(0)).to_contain_text("validation:rmse")
    expect(page.get_by_text("AlgorithmError: column 'PRICE'")).to_be_visible()
    metric = jobs.nth(0).locator("dd").first
    before = metric.text_content()
    server.do(server.world.tick)
    expect(metric).not_to_have_text(before or "")


def test_events_come_without_a_poll(page: Page, server: PageServer) -> None:
    polled(page)
    page.route("**/_mme/state", lambda route: None)  # which is never answered
    where = {"endpoint": "houses", "variant": "AllTraffic", "instance": "i-0a93f2"}
    server.do(server.world.emit, "model loaded", target_model="Now_HI.tar.gz", bytes=10, **where)
    newest = page.locator("#events .event", has_text="Now_HI.tar.gz")
    expect(newest).to_contain_text("10 B · i-0a93f2")
    server.do(server.world.emit, "model unloaded", target_model="Gone_HI.tar.gz", **where)
    expect(page.locator("#events .is-eviction", has_text="Gone_HI.tar.gz")).to_be_visible()


def test_events_are_counted_once_and_drawn(page: Page, server: PageServer) -> None:
    kinds = [each["kind"] for each in server.world.events.recent if each["endpoint"] == "houses"]
    loads, evictions = kinds.count("model loaded"), kinds.count("model unloaded")
    polled(page)
    expect(page.locator("#timeline .legend b").first).to_have_text(str(loads))
    assert page.locator("#timeline rect.bar-load").count() > 0
    expect(page.locator("#timeline-chart svg")).to_have_attribute(
        "aria-label",
        f"In the last five minutes: {loads} loads, {evictions} evictions, 0 failures",
    )


def test_the_log_follows_until_one_scrolls_up(page: Page, server: PageServer) -> None:
    page.locator("#log-source").select_option(label="houses / AllTraffic / i-0a93f2")
    for number in range(60):
        server.do(server.world.log, HOUSES, "AllTraffic/i-0a93f2", f"line {number}")
    page.locator("#log").scroll_into_view_if_needed()
    expect(page.locator("#log .line", has_text="line 59")).to_be_in_viewport()
    page.locator("#log").evaluate("log => log.scrollTop = 0")
    expect(page.locator("#log-follow")).not_to_be_checked()
    server.do(server.world.log, HOUSES, "AllTraffic/i-0a93f2", "another")
    expect(page.locator("#log .line", has_text="another")).to_be_attached()
    assert page.locator("#log").evaluate("log => log.scrollTop") == 0
    page.locator("#log-follow").check()
    expect(page.locator("#log .line", has_text="another")).to_be_in_viewport()


def test_the_log_of_a_training_job(page: Page, server: PageServer) -> None:
    name = server.world.jobs[0]["name"]
    page.locator("#log-source").select_option(label=name)
    expect(page.locator("#log .line").last).to_contain_text("train:rmse:")
    expect(page.locator("#log")).not_to_contain_text("answered 200")


def test_lost_and_back(page: Page, server: PageServer) -> None:
    server.stop()
    expect(page.locator("#lost")).to_be_visible()
    expect(page.locator("#lost")).to_contain_text("mme local up")
    expect(page.locator("#link")).to_have_text("Lost")
    expect(page).to_have_title("(lost) Local SageMaker")
    expect(page.locator("#endpoints tbody tr")).to_have_count(4)
    server.start()
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#lost")).to_be_hidden()
    polled(page)
    server.do(server.world.emit, "model loaded", target_model="Back_HI.tar.gz", endpoint="houses")
    expect(page.locator("#events", has_text="Back_HI.tar.gz")).to_be_visible()


def test_charts_outlive_a_reload(page: Page) -> None:
    polled(page)
    samples = "() => JSON.parse(sessionStorage.getItem('mme-history')).length"
    page.reload()
    assert page.evaluate(samples) == 3
    expect(page.locator("#memory path.line")).to_have_attribute("d", pattern_of(2))


def pattern_of(points: int) -> object:
    """A path through at least so many points."""
    return re.compile(rf"^(?:[ML][\d.]+ [\d.]+){{{points},}}$")


def test_what_to_do_where_there_is_nothing(visit: Visit, complaints: list[str]) -> None:
    with page_server(World(time.time())) as server:
        page = visit(server)
        expect(page.locator("#endpoints code")).to_have_text(
            "mme local exec -- python my_notebook.py"
        )
        expect(page.locator("#jobs code")).to_have_text("mme local exec -- python train.py")
        expect(page.locator("#events code")).to_contain_text("mme local exec --")
        expect(page.locator("#map")).to_be_hidden()
        assert complaints == []


def test_what_to_do_where_no_model_is_loaded(visit: Visit) -> None:
    world = World(time.time())
    variant = Variant("houses", "AllTraffic", [], 1 << 30, [], world)
    world.endpoints = [("houses", "Creating", [variant])]
    with page_server(world) as server:
        page = visit(server)
        expect(page.locator("#instances code")).to_have_text("mme local logs houses")
        server.do(variant.instances.append, Instance("i-1", 1 << 30))
        expect(page.locator("#instances code")).to_contain_text("--endpoint-name houses")
        server.do(variant.load, variant.instances[0], "a.tar.gz")
        expect(page.locator(".box")).to_have_count(1)
        expect(page.locator("#instances code")).to_have_count(0)


def test_an_instance_that_says_nothing_yet(visit: Visit, complaints: list[str]) -> None:
    world = World(time.time()).busy()
    shown = world.state

    def state() -> dict[str, object]:
        whole = shown()
        whole["endpoints"][0]["variants"][0]["instances"][0] |= {"memory_used": None, "cpu": None}
        return whole

    world.state = state  # type: ignore[method-assign]
    with page_server(world) as server:
        page = visit(server)
        expect(page.locator(".figures").first).to_contain_text(
            re.compile("^\\W of 4.00 GiB · \\W CPU")
        )
        assert complaints == []


HOSTILE = (
    "<img src=x onerror=alert(1)>.tar.gz",
    "\"'><script>alert(2)</script>.tar.gz",
    "javascript:alert(3)",
    "\u202egnp.tar.gz",
    "constructor",
    "__proto__",
    "a" * 1024 + ".tar.gz",
)


def test_hostile_names_are_text(visit: Visit, complaints: list[str], world: World) -> None:
    variant = world.endpoints[0][2][0]
    for name in HOSTILE:
        variant.load(variant.instances[0], name)
        world.log(HOUSES, "AllTraffic/i-0a93f2", f"ERROR {name}")
        world.jobs.append(world.job(name, name, name, 1, {name: 1.0}))
    world.endpoints.append((HOSTILE[0], HOSTILE[1], []))
    with page_server(world) as server:
        page = visit(server)
        polled(page)
        for name in HOSTILE:
            assert page.locator(".box").evaluate_all(
                "(boxes, name) => boxes.some((box) => box.dataset.model === name)", name
            )
        for place in ("#events", "#jobs", "#log", "#endpoints"):
            expect(page.locator(place)).to_contain_text(HOSTILE[0])
        page.locator(".box[data-model^='<img']").hover()
        expect(page.locator("#inspector")).to_contain_text(HOSTILE[0])
        assert page.locator("img, body script, iframe").count() == 0
        assert complaints == []


def test_the_policy_holds(page: Page, complaints: list[str]) -> None:
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    page.wait_for_timeout(300)
    assert any("Content Security Policy" in complaint for complaint in complaints)
    assert not any("dialog" in complaint for complaint in complaints)
