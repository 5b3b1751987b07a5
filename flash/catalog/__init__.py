"""What an item is called and what it looks like, made from nothing but its id.

Nothing here may depend on luck, time, `hash()` or the platform: clients cache both as immutable.
"""

from __future__ import annotations

from flash.catalog.names import NAMES as NAMES
from flash.catalog.names import name as name
from flash.catalog.pictures import image_svg as image_svg


def image_path(item_id: int) -> str:
    """Where the service serves the picture."""
    return f"/items/{item_id}/image.svg"
