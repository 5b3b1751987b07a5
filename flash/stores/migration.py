"""`flash migrate`: bring the schema up to date."""

from __future__ import annotations

from flash import bridge
from flash.config import Config
from flash.errors import OperatorError, Unavailable
from flash.stores import postgres


def migrate(config: Config) -> None:
    """Apply `schema.sql` to `config.database_url`; doing it again, or twice at once, does no harm.

    Raises `OperatorError`.
    """
    bridge.run(_migrate, config)


async def _migrate(config: Config) -> None:
    if config.database_url is None:
        raise OperatorError("DATABASE_URL is not set: set it, or use `flash up`")
    async with bridge.open_loop():
        try:
            await postgres.migrate(config.database_url)
        except Unavailable as error:
            raise OperatorError(f"{error}; is DATABASE_URL right and the server running?") from error
