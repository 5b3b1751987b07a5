"""Pictures that a worker draws look as the browser's own would, and come without it as well."""

from __future__ import annotations

import math
import re

from playwright.sync_api import Locator, expect

from flash.catalog.names import words
from flash.catalog.vocabulary import FIGURES, TEXTURES
from tests.browser.conftest import WIDE, Visitors

DIFFERENCE_MAX = 1.0
"""Mean difference of a channel, of 255: the box of a figure is known to a unit of 400."""

COMPARE = """async (ids) => {
  const { drawSvg } = await import("/pages/storefront/svg-canvas.js");
  const { parseSvg } = await import("/pages/storefront/svg-parser.js");
  const px = 96;
  const pixels = (source) => {
    const context = new OffscreenCanvas(px, px).getContext("2d", { willReadFrequently: true });
    context.drawImage(source, 0, 0, px, px);
    return context.getImageData(0, 0, px, px).data;
  };
  const difference = async (id) => {
    const url = `/items/${id}/image.svg`;
    const image = Object.assign(new Image(px, px), { src: url });
    await image.decode();
    const [one, other] = [drawSvg(parseSvg(await (await fetch(url)).text()), px), image].map(pixels);
    return [id, one.reduce((sum, value, place) => sum + Math.abs(value - other[place]), 0) / one.length];
  };
  return Promise.all(ids.map(difference));
}"""


def ids_of_everything_drawn() -> list[int]:
    """Items that together have every figure and every texture; with so many, also every backdrop."""
    seen: set[str] = set()
    ids = []
    for item_id in range(1, 10_001):
        word = words(item_id)
        shapes = {FIGURES[word.object].body, TEXTURES[word.material].marks}
        if not shapes <= seen:
            seen |= shapes
            ids.append(item_id)
    assert seen == {figure.body for figure in FIGURES} | {texture.marks for texture in TEXTURES}
    return ids


def test_a_worker_draws_pictures_as_the_browser_itself_would(visitors: Visitors) -> None:
    page = visitors.visit()
    differences = page.evaluate(COMPARE, ids_of_everything_drawn())
    assert [(item, far) for item, far in differences if far > DIFFERENCE_MAX] == []
    expect(page.locator(".tile img.is-there").first).to_have_attribute("src", re.compile("^data:image/png"))


def test_where_workers_cannot_draw_the_browser_does(visitors: Visitors) -> None:
    context = visitors.context()
    context.add_init_script("delete globalThis.OffscreenCanvas")
    page = visitors.visit(context=context)
    expect(page.locator(".tile img.is-there").first).to_have_attribute("src", re.compile(r"^/items/\d+/image.svg$"))


def test_what_a_worker_does_not_know_the_browser_draws(visitors: Visitors) -> None:
    context = visitors.context()
    unknown = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400"><text>?</text></svg>'
    context.route("**/image.svg", lambda route: route.fulfill(content_type="image/svg+xml", body=unknown))
    page = visitors.visit(context=context)
    expect(page.locator(".tile img.is-there").first).to_have_attribute("src", re.compile(r"/items/\d+/image.svg$"))


def test_in_a_window_that_changes_its_size_pictures_stay_until_they_come_in_theirs(visitors: Visitors) -> None:
    page = visitors.visit()
    picture = page.locator(".tile img.is-there").first
    expect(picture).to_have_js_property("naturalWidth", math.ceil(width_of(picture)))
    blank = page.locator(".tile:visible img:not(.is-there)")
    expect(blank).to_have_count(0)
    seen = width_of(picture)
    page.set_viewport_size({"width": WIDE["width"] - 16, "height": WIDE["height"]})
    assert blank.count() == 0
    expect(picture).to_have_js_property("naturalWidth", math.ceil(width_of(picture)))
    assert width_of(picture) != seen


def width_of(picture: Locator) -> float:
    box = picture.bounding_box()
    assert box is not None
    return box["width"]
