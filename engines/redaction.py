"""No key and no password in a text that is written or printed: each goes through here first, before it is cut."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from html.entities import name2codepoint
from typing import Any
from urllib.parse import quote

HIDDEN = "(hidden)"
# no secret, for it may stand in any text: what is shorter than 8, and letters or digits alone that are shorter than 16
WORD = re.compile(r".{0,7}|[^\W\d_]{0,15}|\d{0,15}", re.DOTALL)
SIGN = re.compile(r"[!-,./:-@\[-^`{-~]")  # of ASCII, but - and _, which nobody escapes
ESCAPE = re.compile(r"%[0-9A-F]{2}")  # of an address, in capitals as Python writes it
LOOK_AHEAD = 4096  # characters behind a cut that are redacted with it: whole bodies are long, and no key is longer
SECRET_VARIABLE = re.compile(r"KEY|TOKEN(?!IZER|S)|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH(?!OR)", re.IGNORECASE)
# `$NAME` is where a key would be, and of `token: 5` the model has one; what may repeat is bounded, for texts are long
CREDENTIALS = re.compile(
    r"(?<=://)[^/\s]{1,300}(?=@)|(?<=Bearer )(?!\$)[^\s\"']+"
    r"|(?<=Basic )(?![A-Za-z][a-z]{1,40}(?![A-Za-z0-9+/=]))[A-Za-z0-9+/_-]{12,}={0,2}"
)
_NO_KEY = r"(?!\$|\[|\\{1,2}[\"']|[-+.\d]{1,40}(?:[\s\"'&,;:)}\]]|$))"
_OWNER = "(?<![a-z])(?:hf|hub|access|auth|api|bearer|refresh|session|id|github|gitlab|user|private)"
_NAME = rf"(?:secret|password|api[_-]?key|{_OWNER}[_-]token)"
KEY_OPTION = re.compile(rf"(?<![\w-])(--?(?:[a-z_-]{{0,40}}{_NAME}|token)[= ]){_NO_KEY}\S+", re.IGNORECASE)
_QUOTE = r"(?:\\{0,2}[\"'])"
# `{'api_key': ['…']}`, `?token=…`, `{"token": "…"}`, `SOME_TOKEN=…`
_TOKEN = rf"(?<=[?&])token(?==)|(?<=[\"'])token(?={_QUOTE})|(?-i:(?<=[A-Z0-9]_)TOKEN(?==))"
NAMED_KEY = re.compile(
    rf"((?:{_NAME}|{_TOKEN}){_QUOTE}?\s{{0,3}}[=:]\s{{0,3}}\[?{_QUOTE}?){_NO_KEY}[^\s\"'&,}}]+", re.IGNORECASE
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
    return redacted(text[: length + LOOK_AHEAD])[:length]


def _redacted(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
        text = written(secret).sub(HIDDEN, text) if SIGN.search(secret) else text
    return NAMED_KEY.sub(rf"\1{HIDDEN}", KEY_OPTION.sub(rf"\1{HIDDEN}", CREDENTIALS.sub(HIDDEN, text)))


def _secrets() -> Iterator[str]:
    """What is hidden wherever it stands, the longest first."""
    values = set(_keys_in_use)
    for name, value in os.environ.items():
        # where a key lies is no key
        if SECRET_VARIABLE.search(name) and not (value.startswith("/") and os.access(value, os.F_OK)):
            values.add(value)
    forms = {form for value in values for form in _forms(value) if not WORD.fullmatch(form.strip())}
    yield from sorted(forms, key=len, reverse=True)


@lru_cache(maxsize=256)
def written(secret: str) -> re.Pattern[str]:
    """A secret whose signs may be escaped, as programs do in JSON (.NET writes + as `\\u002B`), in a page (Go's
    templates write `&#43;`) and in an address.
    """
    return re.compile("".join(_escaped(sign) if SIGN.match(sign) else re.escape(sign) for sign in secret))


def _escaped(sign: str) -> str:
    code = ord(sign)
    names = "".join(rf"|&{name};" for name, value in name2codepoint.items() if value == code)
    numbers = rf"&#0{{0,5}}{code};|&#[xX]0{{0,5}}(?i:{code:x});|\\{{1,4}}u(?i:{code:04x})|%(?i:{code:02x})"
    return rf"(?:\\{{0,4}}{re.escape(sign)}|{numbers}{names})"


def _forms(value: str) -> set[str]:
    """As programs and errors write it: stripped, in one line, in JSON, in Python, in HTML, in an address."""
    stripped = value.strip()
    escaped = (json.dumps(stripped)[1:-1], json.dumps(stripped, ensure_ascii=False)[1:-1], repr(stripped)[1:-1])
    slashes = stripped.replace("/", "\\/")  # as PHP writes JSON
    in_address = {quote(stripped, safe=safe) for safe in ("", "/")}
    in_address |= {ESCAPE.sub(lambda match: match[0].lower(), text) for text in in_address}
    return {value, stripped, " ".join(value.split()), *escaped, slashes, escape(stripped), *in_address}
