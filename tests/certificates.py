"""A real certificate for the tests of TLS, and connections whose client verifies it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trio

from flash.http.server import Tls
from flash.testing.client import host_and_port


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this host, and its key, as PEM files."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(*make_certificate(tmp_path_factory.mktemp("tls")))


async def tls_stream(address: str, tls: Tls, protocol: str) -> trio.SSLStream[trio.SocketStream]:
    """A connection to `address` that trusts only the certificate of `tls`, and speaks `protocol` (`h2`, `http/1.1`)."""
    context = ssl.create_default_context(cafile=tls.certificate)
    context.set_alpn_protocols([protocol])
    host, port = host_and_port(address)
    stream = trio.SSLStream(
        await trio.open_tcp_stream(host, port), context, server_hostname=host, https_compatible=True
    )
    await stream.do_handshake()
    assert stream.selected_alpn_protocol() == protocol
    return stream
