"""A short run from every side, and the seeds that have found something: each has a line that says what it was."""

from __future__ import annotations

import pytest

from flash.local.embedded import EmbeddedPostgres
from flash.testing.stores import fresh_database
from tests.fuzz import environment_target, http_target, postgres_target, redis_target
from tests.fuzz.findings import BURST, Findings

KEPT_HTTP = [380]
KEPT_REDIS = [
    *(1, 5),  # answers of another shape than was asked for ended the reader, and with it the process
    *(54, 390),  # a map of RESP3 whose key is a list is a TypeError of hiredis
]
KEPT_ENVIRONMENT = [
    *(2, 28, 38, 51),  # FLASH_HOST that is no name of a host was a traceback
    21,  # REDIS_URL without its slashes was shown with its password
    20466,  # a URL that had lost its @ was shown with its password
    *(97, 147, 203),  # a port or an option that asyncpg cannot read ended the process with a traceback that showed it
]


def assert_defined(findings: Findings) -> None:
    """Every input got a defined answer."""
    assert not findings.failures, "\n".join(f"seed {failure.seed}: {failure.what}" for failure in findings.failures[:3])
    assert len(findings.answers) > 1, "a target that knows but one answer has met nothing"


def test_whatever_is_sent_over_http_gets_a_defined_answer() -> None:
    findings = http_target.run([*range(20), *KEPT_HTTP])
    assert_defined(findings)
    assert {"200", "400 invalid_request", "400 invalid_code", "closed"} <= findings.answers.keys()


def test_whatever_comes_from_redis_ends_nothing_and_makes_nobody_hear_what_is_not_so() -> None:
    findings = redis_target.run([*range(12), *KEPT_REDIS])
    assert_defined(findings)
    assert {"commands: read", "commands: dropped", "wire: OutcomeUnknown"} <= findings.answers.keys()
    assert findings.answers["keys: nothing false, and all was sold"] >= 3 * BURST


def test_whatever_stands_in_the_environment_is_taken_or_refused_by_name() -> None:
    findings = environment_target.run([*range(20), *KEPT_ENVIRONMENT])
    assert_defined(findings)
    assert {"accepted", "refused: a setting"} <= findings.answers.keys()


@pytest.mark.parametrize("seed", [0, 1])
def test_odd_rows_are_lived_with_and_tables_without_rules_are_not_served(
    postgres_server: EmbeddedPostgres, seed: int
) -> None:
    with fresh_database(postgres_server) as strict, fresh_database(postgres_server) as lax:
        assert_defined(postgres_target.run_on([seed], strict, lax, inputs=5))
