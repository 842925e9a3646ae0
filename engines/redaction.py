"""No key and no password in a text that is written or printed: each goes through here first, before it is cut."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "(hidden)"
SHORTEST_SECRET = 8  # a shorter value of a variable is a word such as "none"
SHORTEST_KEY = 6  # of a server: a shorter one, such as "EMPTY", keeps nobody out
SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH(?!OR)", re.IGNORECASE)
# but `$NAME` is where a key would be, and a tokenizer's tokens are none; what may repeat is bounded, for texts are long
CREDENTIALS = re.compile(r"(?<=://)[^/\s]{1,300}(?=@)|(?<=Bearer )(?!\$)[^\s\"']+|(?<=Basic )(?!\$)[^\s\"']+")
KEY_OPTION = re.compile(r"(--?[a-z-]{0,40}(?:api-key|token|password)[= ])(?!\$)\S+", re.IGNORECASE)
_TOKEN = "".join(f"(?<!{word}[ _])" for word in ("bos", "eos", "pad", "unk", "unexpected", "invalid", "next")) + "token"
# `?token=…`, `HF_TOKEN=…`, `{'api_key': '…'}`
NAMED_KEY = re.compile(
    rf"((?:{_TOKEN}|secret|password|api[_-]?key)[\"']?\s{{0,3}}[=:]\s{{0,3}}[\"']?)(?!\$)[^\s\"'&,}}]+", re.IGNORECASE
)

_keys_in_use: set[str] = set()


def hide_key(key: str) -> None:
    """From now on hide a server's key in this process's texts, whatever the variable is called that holds it."""
    _keys_in_use.add(key)


def redacted(text: str) -> str:
    """`text` without credentials in addresses and headers, keys of command lines, keys of servers that are attached to,
    and values of variables of this environment that are called a key, token, secret or password.
    """
    return _redacted(text, list(_secrets()))


def redacted_texts(value: Any) -> Any:
    """The same for all texts of nested mappings and sequences; names in mappings stay."""
    secrets = list(_secrets())

    def inner(value: Any) -> Any:
        if isinstance(value, str):
            return _redacted(value, secrets)
        if isinstance(value, Mapping):
            return {name: inner(item) for name, item in value.items()}
        return type(value)(map(inner, value)) if type(value) in (list, tuple) else value

    return inner(value)


def excerpt(text: str, length: int = 300) -> str:
    """The first characters of what a server said, redacted before: half a key would not be known for one."""
    return redacted(text)[:length]


def _redacted(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return NAMED_KEY.sub(rf"\1{HIDDEN}", KEY_OPTION.sub(rf"\1{HIDDEN}", CREDENTIALS.sub(HIDDEN, text)))


def _secrets() -> Iterator[str]:
    """What is hidden wherever it stands, the longest first."""
    values = {form for key in _keys_in_use for form in _forms(key) if len(form) >= SHORTEST_KEY}
    for name, value in os.environ.items():
        # where a key lies is no key
        if SECRET_VARIABLE.search(name) and not (value.startswith("/") and os.access(value, os.F_OK)):
            values |= {form for form in _forms(value) if len(form) >= SHORTEST_SECRET}
    yield from sorted(values, key=len, reverse=True)


def _forms(value: str) -> set[str]:
    """As programs and errors write it: stripped, in one line, in JSON, in Python, in an address."""
    stripped = value.strip()
    escaped = (json.dumps(stripped)[1:-1], json.dumps(stripped, ensure_ascii=False)[1:-1], repr(stripped)[1:-1])
    return {value, stripped, " ".join(value.split()), *escaped, quote(stripped, safe="")}
