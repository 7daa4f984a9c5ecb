"""The map of models in Chromium: areas, order, keys."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from support.page_server import PageServer

pytestmark = pytest.mark.slow

BOXES = """() => [...document.querySelectorAll(".box")].map((box) => {
  const place = box.getBoundingClientRect();
  const frame = box.parentNode.getBoundingClientRect();
  return {
    name: box.dataset.model, bytes: box.model.bytes, instance: box.closest("article").ariaLabel,
    left: place.left, top: place.top, right: place.right, bottom: place.bottom,
    inside: place.left >= frame.left - 1 && place.right <= frame.right + 1
      && place.top >= frame.top - 1 && place.bottom <= frame.bottom + 1,
  };
})"""


def area(box: dict[str, Any]) -> float:
    return (box["right"] - box["left"]) * (box["bottom"] - box["top"])


@pytest.fixture
def two(server: PageServer, page: Page) -> Page:
    """The page with two instances, of which one has loaded less."""
    server.do(server.world.scale_out)
    for _ in range(8):
        server.do(server.world.tick)
    expect(page.locator(".instance")).to_have_count(2)
    page.locator(".instance").nth(1).locator(".box").first.wait_for()
    return page


def test_areas_are_in_proportion(two: Page, server: PageServer) -> None:
    boxes = two.evaluate(BOXES)
    loaded = [model for each in server.world.endpoints[0][2][0].instances for model in each.loaded]
    assert sorted(box["name"] for box in boxes) == sorted(loaded)
    scales = [area(box) / box["bytes"] for box in boxes]
    assert max(scales) == pytest.approx(min(scales), rel=0.02)
    assert len({box["instance"] for box in boxes}) == 2


def test_boxes_lie_inside_and_beside_each_other(two: Page) -> None:
    boxes = two.evaluate(BOXES)
    assert all(box["inside"] for box in boxes)
    for index, one in enumerate(boxes):
        for other in boxes[:index]:
            apart = (
                one["right"] <= other["left"] + 0.5
                or other["right"] <= one["left"] + 0.5
                or one["bottom"] <= other["top"] + 0.5
                or other["bottom"] <= one["top"] + 0.5
            )
            assert apart, (one["name"], other["name"])


def test_the_rows_are_square_enough(page: Page) -> None:
    ratios = page.evaluate(
        """async () => {
          const { strips } = await import("/_mme/page/treemap.js");
          return strips(Array.from({ length: 100 }, () => 5), 400, 300).map(
            ({ width, height }) => Math.max(width / height, height / width));
        }"""
    )
    assert max(ratios) < 2


def test_what_comes_takes_the_place_of_what_went(page: Page) -> None:
    settled = """async ([before, names]) =>
      (await import("/_mme/page/treemap.js")).settled(before, names)"""
    assert page.evaluate(settled, [list("abcd"), list("acde")]) == list("aecd")
    assert page.evaluate(settled, [list("abcd"), list("ad")]) == list("ad")
    assert page.evaluate(settled, [[], list("ab")]) == list("ab")


def test_pointing_at_a_model_tells_of_it(page: Page, server: PageServer) -> None:
    inspector = page.locator("#inspector")
    expect(inspector).to_contain_text("Point at a model")
    page.locator(".box[data-model='New_York_NY.tar.gz']").hover()
    for words in ("New_York_NY.tar.gz", "78.0 MiB", "loaded", "last used", "in flight"):
        expect(inspector).to_contain_text(words)
    page.mouse.move(0, 0)
    expect(inspector).to_contain_text("Point at a model")


def test_keys_walk_the_map(two: Page) -> None:
    focused = "() => document.activeElement.dataset.model"
    here = "() => document.activeElement.closest('article').ariaLabel"
    first = two.locator(".box[tabindex='0']").first
    first.focus()
    start = two.evaluate(focused)
    two.keyboard.press("ArrowRight")
    right = two.evaluate(focused)
    assert right != start
    expect(two.locator("#inspector .model")).to_have_text(right)
    two.keyboard.press("ArrowLeft")
    assert two.evaluate(focused) == start
    two.keyboard.press("ArrowDown")
    assert two.evaluate(focused) != start
    two.keyboard.press("Home")
    assert two.evaluate(focused) == start
    for _ in range(20):
        two.keyboard.press("ArrowRight")
    assert two.evaluate(here) == "Instance i-0b5e18"
    two.keyboard.press("End")
    last = two.locator(".instance").nth(1).locator(".box").last
    expect(last).to_be_focused()
    expect(last).to_have_attribute("aria-selected", "true")


def test_one_stop_of_tab_for_each_instance(two: Page) -> None:
    for instance in two.locator(".instance").all():
        assert instance.locator(".box[tabindex='0']").count() == 1


def test_the_focus_stays_while_models_come_and_go(page: Page, server: PageServer) -> None:
    box = page.locator(".box[data-model='Chicago_IL.tar.gz']")
    box.focus()
    variant = server.world.endpoints[0][2][0]
    instance = variant.instances[0]
    server.do(variant.load, instance, "Boise_ID.tar.gz")
    page.locator(".box[data-model='Boise_ID.tar.gz']").wait_for()
    expect(box).to_be_focused()
    server.do(instance.loaded.pop, "Chicago_IL.tar.gz")
    expect(box).to_have_count(0)
    expect(page.locator(".box:focus")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".box:focus")).to_have_count(1)


def test_a_thousand_models(page: Page, server: PageServer, complaints: list[str]) -> None:
    variant = server.world.endpoints[0][2][0]

    def load() -> None:
        for number in range(1000):
            variant.load(variant.instances[0], f"model-{number:04}.tar.gz", 400_000 + number)

    server.do(load)
    expect(page.locator(".box[data-model='model-0999.tar.gz']")).to_be_attached()
    scales = [area(box) / box["bytes"] for box in page.evaluate(BOXES) if "model-" in box["name"]]
    assert len(scales) == 1000
    assert max(scales) == pytest.approx(min(scales), rel=0.05)
    assert complaints == []
