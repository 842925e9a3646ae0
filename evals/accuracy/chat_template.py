"""A checkpoint's chat template, by Jinja alone, rendered as Transformers does: the orchestrator has no Transformers.

A template is a program from whoever made the checkpoint. It runs in Jinja's sandbox (no loader, no files, no modules,
nothing changed of what it is given) and in a process of its own, which bounds its time and memory.
"""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from engines.runtime.child_environment import child_environment
from engines.runtime.entry_points import CHAT_TEMPLATE_PROCESS
from engines.runtime.own_packages import import_folder
from quant.canonical_json import read_regular
from quant.checkpoints.safetensors import MAKE_AGAIN
from quant.errors import CellFailure, reading

RENDER_SECONDS = 20.0  # templates take milliseconds; the rest is for a machine that is busy
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
    open for the model to continue. A template that asks for the day gets the same one, whatever the day is: scores of
    one checkpoint must not depend on it.
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
    process = _process()
    assert process.stdin
    assert process.stdout
    line = ""
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps({"template": template, "given": {**special, **given}}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if not line:
        _process.cache_clear()
        process.communicate()
        if process.returncode == -signal.SIGALRM:
            raise ChatTemplateError(f"the chat template was not done after {RENDER_SECONDS:g} s")
        raise ChatTemplateError(f"the chat template ended its process with exit code {process.returncode}")
    answer = json.loads(line)
    if "error" in answer:
        raise ChatTemplateError(f"the chat template {answer['error']}")
    text: str = answer["text"]
    return text


@cache
def _process() -> subprocess.Popen[str]:
    """The process that renders, which ends with this one: its standard input is the pipe from here."""
    process = subprocess.Popen(
        [sys.executable, "-m", CHAT_TEMPLATE_PROCESS, f"{RENDER_SECONDS:g}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env=child_environment({"PYTHONPATH": str(import_folder())}),
        cwd="/",
    )
    atexit.register(process.communicate)
    return process
