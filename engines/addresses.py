"""Addresses of servers: which of them are on this machine, and how they are shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def trusts_environment(url: str) -> bool:
    """Whether requests to `url` may go by HTTP_PROXY, SSL_CERT_FILE, ~/.netrc and the like: not to a loopback address.

    httpx asks a proxy for 127.0.0.1 too, unless NO_PROXY names it.
    """
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
    return not (address.is_loopback or address.is_unspecified)


def without_credentials(address: str) -> str:
    """An address as it may be shown: without a user's name and password."""
    scheme, separator, rest = address.partition("://") if "://" in address else ("", "", address)
    return scheme + separator + rest.rpartition("@")[2]
