"""Hosts in network namespaces, in a process of their own, since whoever makes them moves into one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from drill import namespaces
from flash.config import environment

REASON = namespaces.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

SCRIPT = """
import socket
from drill import namespaces
from drill.network import REDIS
from drill.proxy import ANSWERS, REQUESTS

def heard(connection):
    try:
        return connection.recv(1)
    except TimeoutError:
        return None

namespaces.move_into_own()
network = namespaces.NamespaceNetwork()
host, other = network.add_host(), network.add_host()
address, port = host.ways[REDIS].address.split(":")
with network.at_store(REDIS):
    listening = socket.create_server((address, int(port)))

def connected(host):
    with host.entered():
        client = socket.create_connection((address, int(port)), timeout=5)
    server, peer = listening.accept()
    assert peer[0] == host.address, peer
    return client, server
(client, server), (bystander, its_server) = connected(host), connected(other)
for connection in (client, server, bystander, its_server):
    connection.settimeout(0.3)
for direction, sender, receiver in ((REQUESTS, client, server), (ANSWERS, server, client)):
    with host.ways[REDIS].held(direction):
        sender.sendall(b"x")
        assert heard(receiver) is None, f"{direction} are lost"
        bystander.sendall(b"y")
        assert heard(its_server) == b"y", "nobody else is cut off"
    receiver.settimeout(5)
    assert heard(receiver) == b"x", f"{direction} come late"
print("ok")
"""


def test_a_host_is_cut_off_in_one_direction_alone_and_hears_the_rest_late() -> None:
    ours = os.readlink("/proc/self/ns/net")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
    assert os.readlink("/proc/self/ns/net") == ours
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    assert "cable" not in links, "the machine's own network was never touched"
