"""The page for those who have no mouse, little light, or a narrow window."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from support.page_server import PageServer

pytestmark = pytest.mark.slow

# Of each element with text of its own: the contrast of that text with what is behind it.
CONTRASTS = """() => {
  const channel = (value) =>
    (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = numbers(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [one, other] = [luminance(ink), luminance(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([ratio, element.outerHTML.slice(0, 120)]);
  }
  return found;
}"""

FOCUS = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { id: at.id, tag: at.tagName, name: at.ariaLabel ?? at.textContent.slice(0, 30), ring };
}"""


@pytest.fixture
def settled(page: Page, server: PageServer) -> Page:
    """The page with models of every shade, and a failure."""
    loaded = server.world.endpoints[0][2][0].instances[0].loaded.values()
    largest = sorted(loaded, key=lambda model: -model.bytes)
    for index, model in enumerate(largest):
        model.in_flight = int(index % 4 == 0)
        model.last_used -= (0, 0, 30, 90)[index % 4]
    server.do(server.world.emit, "model load failed", target_model="a.tar.gz", endpoint="houses")
    server.do(server.world.log, "/aws/sagemaker/Endpoints/houses", "AllTraffic/i-0a93f2", "ERROR")
    expect(page.locator(".event.is-failure")).to_be_visible()
    expect(page.locator("#log .error")).to_be_visible()
    page.locator(".box.use-3").first.wait_for()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(settled: Page, scheme: Any) -> None:
    settled.emulate_media(color_scheme=scheme)
    settled.wait_for_timeout(300)
    found = settled.evaluate(CONTRASTS)
    assert len(found) > 150
    for shade in range(4):
        assert settled.locator(f".box.use-{shade}:not(.bare)").count()
    assert [each for each in found if each[0] < 4.5] == []


def test_dark_and_light(page: Page) -> None:
    light = page.screenshot()
    page.emulate_media(color_scheme="dark")
    dark = page.screenshot()
    assert light != dark
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in ground[4:-1].split(",")) < 40


def test_everything_is_reached_by_tab_and_shows_it(page: Page) -> None:
    walk = []
    for _ in range(30):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        if at["tag"] == "BODY":
            break
        walk.append(at)
    names = [at["id"] or at["name"] for at in walk]
    assert names[0] == "Skip to the endpoints"
    order = ["Show houses, variant AllTraffic", "Show prices-v2"]
    order += ["events", "jobs-body", "log-source", "log-follow", "log"]
    assert [name for name in names if name in order] == order
    assert sum("MiB" in name for name in names) == 1
    assert [at for at in walk if not at["ring"]] == []


def test_an_endpoint_is_chosen_by_keys(page: Page) -> None:
    button = page.get_by_role("button", name="Show churn, variant blue")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_be_focused()
    expect(page.locator("#map-title")).to_contain_text("churn / blue")


def test_a_chart_is_read_by_keys(page: Page) -> None:
    chart = page.get_by_role("img", name="Memory now:")
    expect(chart).to_have_attribute("aria-label", re.compile(r"i-0a93f2 \d.* GiB$"))
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#memory .legend .at")).to_be_visible()
    expect(page.locator("#cache .legend .at")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#memory .legend .at")).to_have_count(0)


@pytest.mark.parametrize("width", [600, 760, 1280, 2200])
def test_nothing_is_cut_off(settled: Page, width: int) -> None:
    settled.set_viewport_size({"width": width, "height": 900})
    settled.wait_for_timeout(200)
    assert settled.evaluate("document.documentElement.scrollWidth") <= width
    clipped = settled.evaluate(
        """() => [...document.querySelectorAll("td, .figures, h2, .status, .legend li")]
          .filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0)
          .map((each) => each.textContent)"""
    )
    assert clipped == []


def test_motion_is_reduced_where_asked(page: Page) -> None:
    duration = "() => getComputedStyle(document.querySelector('.box')).transitionDuration"
    assert page.evaluate(duration) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(duration) != "0s"


def test_roles_and_names(page: Page) -> None:
    expect(page.get_by_role("table")).to_have_count(1)
    expect(page.get_by_role("row")).to_have_count(5)
    for name in ("Endpoints", "Cache hits", "Latency", "Memory", "Training jobs", "Log"):
        expect(page.get_by_role("region", name=name, exact=True)).to_have_count(1)
    boxes = page.get_by_role("listbox", name="Models loaded on i-0a93f2")
    expect(boxes.get_by_role("option", name="New_York_NY.tar.gz, 78.0 MiB")).to_have_count(1)
    page.set_viewport_size({"width": 600, "height": 900})
    expect(page.get_by_role("row")).to_have_count(5)
