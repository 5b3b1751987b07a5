"""The whole service works as a user of Redis who may do nothing but what `flash doctor --acl` lists."""

from __future__ import annotations

import subprocess
import sys

import redis

from flash.config import environment
from flash.local.embedded import EmbeddedValkey
from flash.purchase_rpc import messages
from flash.testing.client import Client
from flash.testing.cluster import ROOT, until
from tests.cluster.test_faults import ONE, RECOVERY_SECONDS, crowded_sale
from tests.deployments import deployment_of

TOKEN = "0123456789abcdef"
PASSWORD = "s3cret"


class AsUser:
    """The URL of a server for a user with a password."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self.url = f"{server.url.replace('unix://', f'unix://flash:{PASSWORD}@')}?db=2"


def acl_line(database_url: str, redis_url: str) -> str:
    env = environment(DATABASE_URL=database_url, REDIS_URL=redis_url, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "flash"]
    subprocess.run([*command, "migrate"], env=env, check=True, capture_output=True)
    done = subprocess.run([*command, "doctor", "--acl"], env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


async def test_a_sale_is_sold_by_a_user_who_may_do_only_what_the_doctor_lists(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    as_user = AsUser(valkey)
    line = acl_line(postgres, as_user.url)
    deployment = await deployment_of(postgres)
    assert f"~flash:{deployment.id}:*" in line.split()
    with redis.from_url(valkey.url, db=2, decode_responses=True) as operator:
        operator.execute_command(*line.replace("PASSWORD", PASSWORD).split())
        async with crowded_sale(postgres, as_user, FLASH_CONTROL_TOKEN=TOKEN) as (_, crowd):
            async with Client(crowd.addresses[0]) as client:
                state = await client.get("/control/state", [(b"authorization", f"Bearer {TOKEN}".encode())])
                assert state.status == 200
            inbox = messages.inbox_key(deployment, ONE)
            operator.delete(inbox)
            operator.set(inbox, "no stream")  # which they must be able to move aside
            await until(lambda: operator.type(f"{inbox}:wrong_type") == "string")
            await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)
        users = {client["user"] for client in operator.client_list() if client["name"] == "flash"}
        assert users <= {"flash"}
        denied = operator.acl_log()
    assert denied == []
