"""The process in which chat templates are rendered: `python -m evals.accuracy.chat_template_process SECONDS`.

A line of JSON on its standard input is a template and what it is given, the line on its standard output that answers
it is the text or why there is none. The kernel ends it where a template takes longer than SECONDS, and gives it no more
than MEMORY_BYTES: Jinja's sandbox keeps a template from files and modules, and bounds neither time nor memory.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

# what the templates of Llama 3.x take where nobody tells them the day
TODAY = datetime(2024, 7, 26)
MEMORY_BYTES = 512 * 2**20
TEXT_CHARACTERS = 4 * 2**20  # of the longest contexts that models have, a million tokens
REASON_CHARACTERS = 300


def answer(template: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Under "text" what the template makes of `given`, else under "error" why it makes nothing."""
    try:
        text = _compiled(template).render(given)
        text.encode()  # half a surrogate pair is no text of a tokenizer's
    except MemoryError:
        return {"error": f"needs more than {MEMORY_BYTES / 2**20:g} MiB of memory"}
    except (TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # `1 / 0` or `"a" + 1` in a template is Python's own error
        return {"error": f"fails with {type(error).__name__}: {error}"[:REASON_CHARACTERS]}
    if len(text) > TEXT_CHARACTERS:
        return {"error": f"makes a text that is too long: {len(text)} characters (at most {TEXT_CHARACTERS})"}
    return {"text": text}


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


def main() -> None:
    """Answer until the standard input ends."""
    seconds = float(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        asked = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        line = json.dumps(answer(asked["template"], asked["given"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(line, flush=True)


if __name__ == "__main__":
    main()
