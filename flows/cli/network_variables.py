"""Variables of proxies and certificates that no HTTP client can use: found before any work, each in a line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from engines.addresses import without_credentials
from quant.errors import BitfrontierError

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "no_proxy", *PROXIES, *map(str.lower, PROXIES))


class UnusableVariable(BitfrontierError):
    """A variable of the user's shell stops every HTTP client."""

    exit_code = 2


def check_network_variables() -> None:
    """Ask httpx, by which the hub and Prefect are reached, whether it takes what is set. Raises UnusableVariable."""
    given = {name: os.environ[name] for name in NAMES if os.environ.get(name)}
    if not given or _refusal(given) is None:
        return
    for name, value in given.items():
        refusal = _refusal({name: value})
        if refusal is not None:
            raise UnusableVariable(f"{name}={without_credentials(value)}: {_explained(name, refusal)}")


def _refusal(variables: Mapping[str, str]) -> Exception | None:
    """What httpx raises where these of the variables are set, and no others."""
    import httpx

    with _only(variables):
        try:
            httpx.Client(trust_env=True).close()
        except (httpx.InvalidURL, ImportError, ValueError, OSError) as error:
            return error
    return None


@contextmanager
def _only(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in NAMES if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


def _explained(name: str, refusal: Exception) -> str:
    """In words of our own: those of the refusal may hold a password."""
    if name.startswith("SSL_CERT"):
        wrong = "no such file" if isinstance(refusal, FileNotFoundError) else "no certificates can be read from it"
        return f"{wrong}. Correct the path, or unset the variable."
    if name.upper() == "NO_PROXY":
        return "not a list of host names and addresses. Write it as localhost,127.0.0.1,::1 (no brackets)."
    if isinstance(refusal, ImportError):
        return "a SOCKS proxy needs the package socksio. Install it beside bitfrontier, or give an HTTP proxy."
    return "not the address of a proxy. Write it as http://host:port, or unset the variable."
