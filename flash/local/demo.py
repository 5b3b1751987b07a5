"""`flash up --demo`: short sales and a crowd of made-up buyers, in a data directory of its own.

The crowd is one more process beside those of the Procfile, so it ends with them.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from flash.config import Config
from flash.errors import ConfigError
from flash.local.address import address_of
from flash.local.found import demo_dir
from flash.local.procfile import Procfile, ProcfileProcess

SALE_PERIOD_SECONDS = 60
SALE_SIZE = 100


def demo(config: Config, procfile: Procfile) -> tuple[Config, Procfile]:
    """The settings and processes of a demonstration. Raises `ConfigError` if stores are given: they hold real sales."""
    if config.database_url is not None or config.redis_url is not None:
        raise ConfigError("--demo makes up sales and buyers in stores of its own: unset DATABASE_URL and REDIS_URL")
    usual = Config()
    period, size = config.sale_period_seconds, config.sale_size
    config = replace(
        config,
        data_dir=demo_dir(config.data_dir),
        sale_period_seconds=SALE_PERIOD_SECONDS if period == usual.sale_period_seconds else period,
        sale_size=SALE_SIZE if size == usual.sale_size else size,
    )
    settings = {"FLASH_SALE_PERIOD": str(config.sale_period_seconds), "FLASH_SALE_SIZE": str(config.sale_size)}
    return config, replace(procfile, env=settings)


def crowd(config: Config, beside: ProcfileProcess) -> ProcfileProcess:
    """The process of the crowd, which visits the web process `beside`."""
    command = f"exec python -m flash crowd --url {shlex.quote(address_of(config, beside.port).url)}"
    if config.tls_cert is not None:
        command += f" --cacert {shlex.quote(str(config.tls_cert.absolute()))}"
    return ProcfileProcess("crowd.1", command, beside.env)
