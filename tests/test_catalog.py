"""Names and pictures must be distinct within a sale and never change: clients cache both."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from xml.etree import ElementTree

import pytest

from flash import catalog
from flash.catalog.vocabulary import COLOUR_WORDS, MATERIAL_WORDS, OBJECT_WORDS

SALE_SIZE = 10_000
ITEM_ID_MAX = 2**63 - 1
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("first", [1, 10_001, catalog.NAMES - 5_000, ITEM_ID_MAX - SALE_SIZE + 1])
def test_the_items_of_a_sale_have_distinct_names_wherever_it_begins(first: int) -> None:
    assert len({catalog.name(item_id) for item_id in range(first, first + SALE_SIZE)}) == SALE_SIZE


def test_every_name_is_used_once_before_the_first_repeats() -> None:
    assert catalog.NAMES >= 1_000_000
    assert len({catalog.name(item_id) for item_id in range(1, catalog.NAMES + 1)}) == catalog.NAMES
    assert catalog.name(1 + catalog.NAMES) == catalog.name(1)


def test_no_word_is_in_two_lists() -> None:
    words = Counter((*COLOUR_WORDS, *MATERIAL_WORDS, *OBJECT_WORDS))
    assert [word for word, times in words.items() if times > 1] == []


def test_neighbouring_items_share_words_no_more_often_than_chance() -> None:
    ids = range(1, SALE_SIZE)
    chances = [1 / len(words) for words in (COLOUR_WORDS, MATERIAL_WORDS, OBJECT_WORDS)]
    pairs = [(split(item_id), split(item_id + 1)) for item_id in ids]
    for place, chance in enumerate(chances):
        alike = sum(one[place] == other[place] for one, other in pairs)
        assert alike < 1.5 * chance * len(ids)
    assert not any(sum(map(str.__eq__, one, other)) > 1 for one, other in pairs[:100])


def test_a_sale_uses_every_word_about_equally_often() -> None:
    names = [split(item_id) for item_id in range(1, SALE_SIZE + 1)]
    for place, words in enumerate((COLOUR_WORDS, MATERIAL_WORDS, OBJECT_WORDS)):
        used = Counter(name[place] for name in names)
        assert set(used) == set(words)
        assert max(used.values()) < 2 * SALE_SIZE / len(words)


def split(item_id: int) -> tuple[str, str, str]:
    colour, material, thing = catalog.name(item_id).split(" ", 2)
    return colour, material, thing


GOLDEN = {  # a change here renames what people have bought and contradicts what browsers have cached
    1: ("Turmeric Clay Camera", "8609475c91cb5ff7"),
    2: ("Ochre Ceramic Carafe", "15440b22be3aa17c"),
    3: ("Tidal Majolica Kettle", "d4aa9bf4a73ae43d"),
    10000: ("Sunny Minimal Sandglass", "45f92920667f716e"),
    123456: ("Emerald Cork Cup", "8e18e0f92c740750"),
    9223372036854775807: ("Clementine Glass Kettle", "b1deefcd640f91b7"),
}


@pytest.mark.parametrize(("item_id", "name", "picture"), [(i, *golden) for i, golden in GOLDEN.items()])
def test_an_item_keeps_its_name_and_picture_forever(item_id: int, name: str, picture: str) -> None:
    assert catalog.name(item_id) == name
    assert hashlib.sha256(catalog.image_svg(item_id)).hexdigest()[:16] == picture


# What version 0.1.0 gave the first items: any other digest has renamed or redrawn something.
NAMES_DIGEST = "7eeea85c9dc2752286465b1b597dd560904ad4d4333316eaf52805e206e07862"
PICTURES_DIGEST = "a192c9051e54e149c790bb16e5a366bb8fa940410f68c359b4d5d246f40bdff2"


def test_the_first_two_sales_keep_their_names_and_a_thousand_pictures() -> None:
    assert digest(catalog.name(item_id).encode() for item_id in range(1, 2 * SALE_SIZE + 1)) == NAMES_DIGEST
    assert digest(catalog.image_svg(item_id) for item_id in range(1, 1_001)) == PICTURES_DIGEST


def digest(lines: Iterable[bytes]) -> str:
    hashed = hashlib.sha256()
    for line in lines:
        hashed.update(line + b"\n")
    return hashed.hexdigest()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_another_process_draws_the_same_picture(seed: str) -> None:
    script = "import sys; from flash import catalog; sys.stdout.buffer.write(catalog.image_svg(123456))"
    drawn = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
    )
    assert drawn.stdout == catalog.image_svg(123456)


def test_all_pictures_of_a_sale_differ_in_more_than_their_ids_and_titles() -> None:
    pictures = {drawing(item_id) for item_id in range(1, SALE_SIZE + 1)}
    assert len(pictures) == SALE_SIZE


def drawing(item_id: int) -> str:
    """The picture without the parts that name the item."""
    picture = catalog.image_svg(item_id).decode().replace(catalog.name(item_id), "")
    for kind in "gbt":
        picture = picture.replace(f'"{kind}{item_id}"', f'"{kind}"').replace(f"#{kind}{item_id})", f"#{kind})")
    return picture


def test_items_with_the_same_name_still_look_different() -> None:
    assert drawing(1) != drawing(1 + catalog.NAMES)


@pytest.mark.parametrize("item_id", [*range(1, 100), catalog.NAMES, ITEM_ID_MAX])
def test_a_picture_is_small_well_formed_titled_and_self_contained(item_id: int) -> None:
    picture = catalog.image_svg(item_id)
    root = ElementTree.fromstring(picture)
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox") == "0 0 400 400"
    assert root.findtext(f"{SVG}title") == catalog.name(item_id)
    assert len(picture) < 3_500
    assert not {tag.tag for tag in root.iter()} & {f"{SVG}{tag}" for tag in ("script", "image", "use", "style")}
    assert not [key for tag in root.iter() for key in tag.attrib if "href" in key or key.startswith("on")]
    assert b"{" not in picture


def test_a_picture_defines_every_id_it_refers_to() -> None:
    for item_id in range(1, 300):
        root = ElementTree.fromstring(catalog.image_svg(item_id))
        ids = {f"url(#{tag.get('id')})" for tag in root.iter() if tag.get("id")}
        used = {value for tag in root.iter() for value in tag.attrib.values() if value.startswith("url(")}
        assert used == ids


def test_a_pictures_path_names_its_item() -> None:
    assert catalog.image_path(ITEM_ID_MAX) == "/items/9223372036854775807/image.svg"
