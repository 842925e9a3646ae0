"""Commands that can be pasted: every word is quoted, and the folder, the key and the context are the user's."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.trial import Trial
from reports.decision.results import conclude
from reports.output.html_report import contents, quantize_command, render
from reports.output.serve_command import own_command, serve_commands
from tests.support.made_trials import ABOUT, failed, trial

FOLDER = "/home/me/.cache/bitfrontier/checkpoints/" + "0a" * 16
VLLM = (
    f"VLLM_API_KEY=$BITFRONTIER_KEY OMP_NUM_THREADS=2 /env/bin/python -m vllm.entrypoints.openai.api_server --model {FOLDER} "
    "--host 127.0.0.1 --port 8000 --max-model-len 1026 --arguments 'two words'"
)
LLAMA = (
    "BITFRONTIER_API_KEY=$BITFRONTIER_KEY /env/bin/python -m engines.launchers.llama_cpp_server "
    f"--model {FOLDER}/model.gguf --port 8000 --threads 2 --context 1026 --parallel 8"
)


def _of(command: object) -> Trial:
    made = trial("none", 10, 2.0, 80)
    return replace(made, facts={"command": command}) if command else made  # type: ignore[dict-item]


def test_vllm_has_its_own() -> None:
    assert own_command(_of(VLLM)) == (
        'VLLM_API_KEY="$BITFRONTIER_KEY" OMP_NUM_THREADS=2 vllm serve "$CHECKPOINT" --host 127.0.0.1 --port 8000 '
        "--max-model-len \"${CONTEXT:-1026}\" --arguments 'two words'"
    )


def test_llama_cpp_has_its_own() -> None:
    own = own_command(_of(LLAMA))
    assert own.startswith('LLAMA_API_KEY="$BITFRONTIER_KEY" llama-server --model "$CHECKPOINT/model.gguf" --host 127')
    assert "--ctx-size $((8 * ${CONTEXT:-1026}))" in own
    assert " /opt/my/llama-server --model " in own_command(_of(f"{LLAMA} --executable /opt/my/llama-server"))
    assert own_command(_of(LLAMA.replace("--threads 2", "--threads '$(id)'"))) == ""


def test_programs_of_others_have_theirs() -> None:
    own = own_command(_of(f"/usr/bin/text-generation-launcher --model-id {FOLDER} --max-total-tokens 512"))
    assert own == '/usr/bin/text-generation-launcher --model-id "$CHECKPOINT" --max-total-tokens "${CONTEXT:-512}"'


@pytest.mark.parametrize(
    "command",
    [
        "",
        "rm -rf ~",
        "python -m engines.launchers.openvino_server --model x",
        "python -m vllm.entrypoints.openai.api_server",
        "python -m",
        "KEY=x",
        "an 'open quote",
        7,
    ],
)
def test_what_is_no_engines_own_is_none(command: object) -> None:
    assert own_command(_of(command)) == ""


@pytest.mark.parametrize("command", [VLLM, LLAMA])
def test_a_shell_makes_of_it_what_was_measured(command: str, tmp_path: Path) -> None:
    """With programs in place of the engine's and of ours that print what they get."""
    for name in ("vllm", "llama-server", "bitfrontier"):
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\necho "{FOLDER}"\n' if name == "bitfrontier" else '#!/bin/sh\nprintf "%s\\n" "$@"\n'
        )
        program.chmod(0o755)
    results = conclude({**ABOUT, "file": "a plan.yaml"}, [_of(command)])
    commands = serve_commands(results.about, results.answer, "bitfrontier quantize 'a plan.yaml' none")
    assert commands is not None
    variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CONTEXT": "4096"}
    script = commands.own.replace("$(openssl rand -hex 16)", "a key")
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=variables, check=True).stdout
    words = shown.splitlines()
    assert words[words.index("--port") + 1] == "8000"
    if command is VLLM:
        assert words[:2] == ["serve", FOLDER]
        assert words[words.index("--max-model-len") + 1] == "4096"
        assert words[-1] == "two words"
    else:
        assert words[words.index("--model") + 1] == f"{FOLDER}/model.gguf"
        assert words[words.index("--ctx-size") + 1] == str(8 * 4096)


def test_ours_names_run_and_cell_and_is_there_without_the_engines() -> None:
    results = conclude(ABOUT, [_of("")])
    commands = serve_commands(results.about, results.answer, "bitfrontier quantize plan none")
    assert commands is not None
    assert shlex.split(commands.ours) == ["bitfrontier", "serve", "runs/made", "none · e"]
    assert commands.own == ""
    assert serve_commands(ABOUT, conclude(ABOUT, [failed("awq", "it broke")]).answer, "") is None


def test_a_server_of_somebody_else_is_not_served(tmp_path: Path) -> None:
    attached = replace(trial("none", 10, 2.0, 80), provenance={"attached": "http://127.0.0.1:1"})
    results = conclude(ABOUT, [attached])
    assert serve_commands(results.about, results.answer, "") is None
    assert "Copy serve command" not in render(contents(results), {})


def test_the_page_has_both() -> None:
    page = render(contents(conclude(ABOUT, [_of(VLLM)])), {})
    assert "bitfrontier serve runs/made &#39;none · e&#39;" in page
    assert "vllm serve &#34;$CHECKPOINT&#34;" in page
    assert "Set CONTEXT to the tokens of the longest request with its answer" in page
    page = render(contents(conclude(ABOUT, [_of("")])), {})
    assert "The engine's own command line" not in page


def test_what_a_terminal_would_obey_is_written_out(tmp_path: Path) -> None:
    """Pasted without brackets, ^C leaves the quotes, and a line feed starts what follows."""
    evil = "x\x03\ntouch pwned\n\x1b[201~"
    made = replace(_of(f"{VLLM} --more {shlex.quote(evil)}"), method_label=evil)
    about = {**ABOUT, "file": evil, "name": evil, "data_root": evil}
    results = conclude(about, [made])
    quantize = quantize_command(about, results.answer)
    commands = serve_commands(about, results.answer, quantize)
    assert commands is not None
    for line in (quantize, commands.ours, *commands.own.split("\n")):
        assert line.isprintable()
    assert len(commands.own.split("\n")) == 3
    assert "touch pwned" in quantize
