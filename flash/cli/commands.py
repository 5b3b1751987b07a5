"""What each command does. Heavy modules are imported only when a command runs, so that help is quick."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flash.config import Config, settings
from flash.errors import ConfigError, OperatorError, Unavailable

if TYPE_CHECKING:
    from flash.local.address import Address


def up(config: Config, options: argparse.Namespace) -> int:
    from flash.local import up as running
    from flash.local.procfile import read_procfile

    if options.port is not None:
        config = replace(config, port=options.port)
    procfile = read_procfile(options.procfile, options.concurrency)
    return running.up(config, procfile, is_demo=options.demo, is_verbose=options.verbose)


def web(config: Config, options: argparse.Namespace) -> int:
    from flash.processes.web import Shared, run_web

    return run_web(config, Shared(*options.shared) if options.shared else None)


def inventory(config: Config, _options: argparse.Namespace) -> int:
    from flash.processes.inventory import run_inventory

    return run_inventory(config)


def migrate(config: Config, options: argparse.Namespace) -> int:
    from flash import bridge
    from flash.stores import migration

    try:
        schema = bridge.run_in_loop(migration.migrate, config.require("database_url"), grant_to=options.grant_to)
    except Unavailable as error:
        raise OperatorError(f"{error}; is DATABASE_URL right and the server running?") from error
    sys.stdout.write(f"the schema is at version {schema.version}\n")
    return 0


def keys(config: Config, options: argparse.Namespace) -> int:
    from flash.local.found import found_database

    with found_database(config) as url:
        sys.stdout.write(_keys_text(url, options))
    return 0


def _keys_text(url: str, options: argparse.Namespace) -> str:
    from flash import bridge
    from flash.audit import table
    from flash.stores import keys as stored

    if options.action == "rotate":
        id = bridge.run_in_loop(stored.with_session, url, stored.rotate_code_key)
        return f"key {id} signs new codes in {stored.SIGNS_AFTER_SECONDS:g} s; older codes stay valid\n"
    if options.action == "retire":
        bridge.run_in_loop(stored.with_session, url, partial(stored.retire_code_key, id=options.id))
        return f"key {options.id} is gone: its codes are invalid within {stored.READ_KEYS_SECONDS:g} s\n"
    rows = [("key", "made", "signs")]
    for key in bridge.run_in_loop(stored.with_session, url, stored.list_code_keys):
        signs = "now" if key.is_signing else f"from {key.signs_from:%F %T %Z}" if key.is_next else "no more"
        rows.append((str(key.id), f"{key.made_at:%F %T %Z}", signs))
    return "\n".join([*table.lines(rows), ""])


def audit(config: Config, options: argparse.Namespace) -> int:
    from flash import audit as auditing
    from flash.local.found import found_database

    with found_database(config) as url:
        return auditing.main(replace(config, database_url=url), as_json=options.json, sale_id=options.sale)


def config(config: Config, options: argparse.Namespace) -> int:
    from flash.audit import table

    if options.json:
        shown = {setting.variable: _plain(setting.shown(getattr(config, name))) for name, setting in settings()}
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return 0
    sys.stdout.write("\n".join([*table.lines(config.lines()), ""]))
    return 0


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def doctor(config: Config, options: argparse.Namespace) -> int:
    from flash.local import doctor as examining

    return examining.acl(config) if options.acl else examining.doctor(config, as_json=options.json)


def buy(config: Config, options: argparse.Namespace) -> int:
    from flash.local.address import running_addresses
    from flash.terminal.buy import buy as buying

    if options.url and _has_path(options.url):
        raise ConfigError("--url: only http://host:port")
    address = _address(config, options)
    if not options.url and (services := len(running_addresses(config))) > 1:
        sys.stderr.write(f"flash: at {address.url}, the youngest of {services} that run here; --url names another\n")
    return buying(address.url, options.user, options.id, certificate=address.certificate, user_key=config.user_key)


def _address(config: Config, options: argparse.Namespace) -> Address:
    """The address that is given, or that of the service which runs here."""
    from flash.local.address import Address, running_address

    found = Address(options.url) if options.url else running_address(config)
    return replace(found, certificate=options.cacert) if options.cacert else found


def _has_path(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # whoever connects says what is wrong
        return False
    return bool(parts.netloc) and bool(parts.path.strip("/") or parts.query or parts.fragment)


def top(config: Config, options: argparse.Namespace) -> int:
    from flash.terminal.top import top as watching

    address = _address(config, options)
    return watching(address.url, address.certificate, config.control_token, is_once=options.once)


def crowd(config: Config, options: argparse.Namespace) -> int:
    from flash.terminal.crowd import crowd as visiting

    address = _address(config, options)
    return visiting(address.url, config.sale_size / config.sale_period_seconds, address.certificate, config.user_key)


def completion(_config: Config, options: argparse.Namespace) -> int:
    from flash.cli.completion import script
    from flash.cli.parser import build_parser

    sys.stdout.write(script(options.shell, build_parser()))
    return 0
