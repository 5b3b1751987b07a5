"""What an operator can do about an error of a connection to Redis: half a sentence for each kind."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from socket import gaierror

import trio

_NOT_FOR_THIS_NAME = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""
_EXPIRED = 10
_OF_TLS = {
    "CERTIFICATE_REQUIRED": "the server wants a certificate of its clients: set FLASH_REDIS_CERT and FLASH_REDIS_KEY",
    "HANDSHAKE_FAILURE": "it may want a certificate of its clients: set FLASH_REDIS_CERT and FLASH_REDIS_KEY",
    "UNEXPECTED_EOF": "it may want a certificate of its clients: set FLASH_REDIS_CERT and FLASH_REDIS_KEY",
    "UNKNOWN_CA": "the server does not trust who has signed FLASH_REDIS_CERT: give it that authority, or another file",
    "WRONG_VERSION_NUMBER": "no TLS is spoken at this port: take the port that does, or redis:// for rediss://",
    "RECORD_LAYER_FAILURE": "no TLS is spoken at this port: take the port that does, or redis:// for rediss://",
    "KEY_VALUES_MISMATCH": "FLASH_REDIS_KEY is not the key of FLASH_REDIS_CERT",
}
_OF_REDIS = {
    "WRONGPASS": "user or password are wrong in REDIS_URL",
    "NOAUTH": "put a password into REDIS_URL",
    "NOPERM": "this user may do too little: `flash doctor --acl` prints what it needs",
    "connection was closed": "if the port speaks TLS, REDIS_URL begins with rediss",
}


def advice(error: BaseException) -> str:
    """A colon and what to do about `error`; empty if there is nothing to say beyond it."""
    for beneath in chain(error):
        if found := _advice(beneath):
            return f": {found}"
    return ""


def _advice(error: BaseException) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(error)
        case ssl.SSLError():
            return next((text for word, text in _OF_TLS.items() if word in (error.reason or str(error))), None)
        case ConnectionRefusedError():
            return "nothing listens there: start it, or correct host and port in REDIS_URL"
        case ConnectionResetError():
            return (
                "it hangs up: if the port speaks TLS, REDIS_URL begins with rediss, and the server may want a "
                "certificate of its clients: set FLASH_REDIS_CERT and FLASH_REDIS_KEY"
            )
        case gaierror():
            return "no such host is known: correct it in REDIS_URL"
        case FileNotFoundError():
            return "there is no such file: correct REDIS_URL, FLASH_REDIS_CA or FLASH_REDIS_CERT"
        case trio.TooSlowError():
            return "it is silent: a firewall, a wrong host in REDIS_URL, or rediss:// where no TLS is spoken"
        case _:
            return next((text for word, text in _OF_REDIS.items() if word in str(error)), None)


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _NOT_FOR_THIS_NAME:
        return (
            "its certificate is for other names: use one of these in REDIS_URL (Sentinel names hosts by IP address "
            "unless it has resolve-hostnames and announce-hostnames), or have the certificate name this one"
        )
    if error.verify_code == _EXPIRED:
        return "its certificate has expired: renew it"
    return "its certificate is signed by nobody who is trusted here: put the authority's PEM file into FLASH_REDIS_CA"


def chain(error: BaseException, seen: frozenset[int] = frozenset()) -> Iterator[BaseException]:
    """What lies beneath `error` first: it tells more. Causes may run in a circle, which is followed once."""
    if id(error) in seen:
        return
    seen |= {id(error)}
    if error.__cause__ is not None:
        yield from chain(error.__cause__, seen)
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from chain(one, seen)
    yield error
