"""A checkpoint's chat template, by Jinja alone, rendered as Transformers does: the orchestrator has no Transformers.

A template is a program from whoever made the checkpoint. It runs in Jinja's sandbox: no loader, no files, no modules,
nothing changed of what it is given. The sandbox bounds neither time nor memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from quant.canonical_json import read_regular
from quant.checkpoints.safetensors import MAKE_AGAIN
from quant.errors import CellFailure, reading

# what the templates of Llama 3.x take where nobody tells them the day
TODAY = datetime(2024, 7, 26)
TEMPLATE_FILE = "chat_template.jinja"
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
# Transformers' own, with its space: a template may trim the message, and only then is the space gone
_MARK = "CONTINUE_FINAL_MESSAGE_TAG "


class ChatTemplateError(CellFailure):
    """The chat template does not render these messages; the message says what is wrong."""

    kind = "unusable-data"


def template_of(folder: Path) -> str | None:
    """The source of a checkpoint's chat template; None where it has none. Raises ChatTemplateError."""
    file = folder / TEMPLATE_FILE
    with reading(f"{folder}: its chat template", ChatTemplateError, MAKE_AGAIN):
        if file.exists():
            return read_regular(file).decode()
        stored = _config(folder).get("chat_template")
        if isinstance(stored, list):
            stored = {entry["name"]: entry["template"] for entry in stored}.get("default")
        return stored if isinstance(stored, str) else None


def special_tokens(folder: Path) -> dict[str, str]:
    """The texts of `SPECIAL` by name, as `tokenizer_config.json` has them; those that it does not name are left out.

    Raises ChatTemplateError.
    """
    with reading(f"{folder}: its tokens' names", ChatTemplateError, MAKE_AGAIN):
        tokens = {name: _config(folder).get(name) for name in SPECIAL}
        texts = {name: token["content"] if isinstance(token, dict) else token for name, token in tokens.items()}
    return {name: text for name, text in texts.items() if text is not None}


def render(
    template: str, special: Mapping[str, str], history: Sequence[Mapping[str, str]], *, add_generation_prompt: bool
) -> str:
    """The text of `history` (messages with "role" and "content"). Raises ChatTemplateError.

    With `add_generation_prompt` it ends where the answer starts; without, inside the final message, which is left
    open for the model to continue. A template that asks for the day gets `TODAY`, whatever the day is: scores of one
    checkpoint must not depend on it.
    """
    if not history:
        raise ChatTemplateError("there is no message to render")
    messages = [dict(message) for message in history]
    if add_generation_prompt:
        return _filled(template, special, messages, add_generation_prompt=True)
    final = messages[-1].get("content")
    if final is None:
        raise ChatTemplateError("the final message has no content to continue")
    if "content" not in template:
        raise ChatTemplateError("the chat template does not read the content of a message, so none can be continued")
    messages[-1]["content"] = final + _MARK
    text = _filled(template, special, messages, add_generation_prompt=False)
    if final.strip() not in text or _MARK.strip() not in text:
        raise ChatTemplateError("the chat template drops or changes the final message, so it cannot be continued")
    end = text.rindex(_MARK.strip())
    return text[:end] if text.startswith(_MARK, end) else text[:end].rstrip()


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(read_regular(file)) if file.exists() else {}
    return config


def _filled(
    template: str, special: Mapping[str, str], messages: list[dict[str, str]], *, add_generation_prompt: bool
) -> str:
    given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
    try:
        return _compiled(template).render({**special, **given})
    except (TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # `1 / 0` or `"a" + 1` in a template is Python's own error
        raise ChatTemplateError(f"the chat template fails with {type(error).__name__}: {error}") from error


@lru_cache(maxsize=8)  # a run renders thousands of histories with one template
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=TODAY.strftime, dict=_Dict(), namespace=_Namespace
    )
    return environment.from_string(template)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Not Jinja's own, which escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; here it prints them and no more."""

    tags = {"generation"}  # noqa: RUF012  (Jinja's own declaration is no ClassVar)

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict` without the type's own methods: `dict.update(messages[0], ...)` passes the sandbox and changes."""

    def __call__(self, *args: Any, **items: Any) -> dict[Any, Any]:
        return dict(*args, **items)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """`namespace` that takes no name with an underscore before it, as Transformers' own: Python's internals."""

    def __init__(*args: Any, **items: Any) -> None:  # no parameter `self`, so that a template may use the name
        Namespace.__init__(args[0])
        for name, value in dict(*args[1:], **items).items():
            args[0][name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a chat template may not set {name!r} on a namespace")
        Namespace.__setitem__(self, name, value)
