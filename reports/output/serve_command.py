"""The commands that serve the recommended cell once more, to be pasted: ours, and the engine's own where it has one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.runtime.environments import PROGRAMS
from evals.schema.trial import Trial
from quant.errors import program, without_controls
from reports.decision.recommend import Answer

CHECKPOINT = re.compile(r"\S*/checkpoints/[0-9a-f]{32}((?:/[\w.-]+)?)")
VARIABLE = re.compile(r"(\w+)=(.*)", re.DOTALL)
VLLM, LLAMA = "vllm.entrypoints.openai.api_server", ("engines.launchers.llama_cpp_server", "engines.llama_app")
CONTEXTS = ("--max-model-len", "--max-total-tokens", "--max_seq_len")
KEY = '"$BITFRONTIER_KEY"'


@dataclass(frozen=True)
class ServeCommands:
    """Shell lines. `ours` needs the run's folder; `own` is the engine's own command line, empty where it has none, or
    was not started by the run.
    """

    ours: str
    own: str


def serve_commands(about: Mapping[str, Any], answer: Answer, quantize: str) -> ServeCommands | None:
    """Of the chosen cell, whose checkpoint the command `quantize` makes or finds; None where none was chosen, or its
    server is somebody else's.
    """
    if answer.chosen is None or answer.chosen.cell.trial.provenance.get("attached"):
        return None
    trial = answer.chosen.cell.trial
    ours = program_line(["serve", f"runs/{about['name']}", trial.name])
    own = own_command(trial)
    key = 'export BITFRONTIER_KEY="$(openssl rand -hex 16)"'
    return ServeCommands(ours, f'{key}\nCHECKPOINT="$({quantize})"\n{own}' if own else "")


def own_command(trial: Trial) -> str:
    """What was timed, by the engine's own program, with variables of the shell: $CHECKPOINT, the folder, and $CONTEXT,
    the tokens of the longest request with its answer. Empty where a program of ours was timed.
    """
    try:
        words = shlex.split(str(trial.facts.get("command", "")))
    except ValueError:  # no command line of ours
        return ""
    variables = []
    while words and (match := VARIABLE.fullmatch(words[0])):
        variables.append(f"{match[1]}={_quoted(match[2])}")
        words.pop(0)
    module = words[2] if words[1:2] == ["-m"] and len(words) > 2 else ""
    if module in LLAMA:
        return _llama_server(dict(zip(words[3::2], words[4::2], strict=False)))
    if module == VLLM and "--model" in words[3:-1]:
        place = words.index("--model")
        words = ["vllm", "serve", words[place + 1], *words[3:place], *words[place + 2 :]]
    elif not words or Path(words[0]).name not in PROGRAMS.values():
        return ""
    for place, word in enumerate(words[:-1]):
        if word in CONTEXTS and words[place + 1].isdigit():
            words[place + 1] = f"${{CONTEXT:-{words[place + 1]}}}"
    return " ".join([*variables, *map(_quoted, words)])


def program_line(words: Sequence[str]) -> str:
    """A command of this program."""
    return f"{program()} {shell_line(words)}"


def shell_line(words: Sequence[str]) -> str:
    """Quoted for a shell. Control characters and line feeds, which a terminal that they are pasted into may obey in
    spite of quotes, are written out: a run may be somebody else's.
    """
    return without_controls(shlex.join(words)).replace("\n", "\\n")


def _quoted(word: str) -> str:
    """For a shell. Our own variables stay variables."""
    if match := CHECKPOINT.fullmatch(word):
        return f'"$CHECKPOINT{match[1]}"'
    if word == "$BITFRONTIER_KEY" or re.fullmatch(r"\$\{CONTEXT:-\d+\}", word):
        return f'"{word}"'
    return shell_line([word])


def _llama_server(flags: Mapping[str, str]) -> str:
    """llama.cpp's own program with the settings of ours, which stands in for it where there is only its library."""
    threads, parallel, context = (flags.get(name, "") for name in ("--threads", "--parallel", "--context"))
    if not (threads.isdigit() and parallel.isdigit() and context.isdigit()):
        return ""
    program = _quoted(flags.get("--executable", "llama-server"))
    return (
        f'LLAMA_API_KEY={KEY} {program} --model "$CHECKPOINT/model.gguf" --host 127.0.0.1 --port 8000 '
        f"--threads {threads} --threads-batch {threads} --poll 0 --parallel {parallel} "
        f"--ctx-size $(({parallel} * ${{CONTEXT:-{context}}})) --threads-http 4 --metrics --no-webui --cache-ram 0"
    )
