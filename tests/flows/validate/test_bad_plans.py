"""Thirty and more bad plans: each is refused and names file, line, what is wrong and the fix."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.plan.source import PlanError, load_plan
from flows.validate.plan import check
from tests.support.bad_plans.all_kinds import BAD
from tests.support.bad_plans.changes import ARRIVALS, CHECKPOINTS, GOOD, TRACES, Plan, existing, set_key
from tests.support.checkpoints import write_tiny_model


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    write_tiny_model(tmp_path / "other")
    for name, rows in TRACES.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, config in CHECKPOINTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def _write(folder: Path, plan: Plan) -> Path:
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return file


def test_the_good_plan_is_good(folder: Path) -> None:
    sweep = check(load_plan(_write(folder, GOOD)))
    assert [cell.quantization.label for cell in sweep.cells] == ["none float16", "rtn W4A16-g32", "gptq W4A16-g32"]
    assert all(cell.unsupported is None for cell in sweep.cells)


def test_a_method_is_made_once_for_each_seed(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["methods"][2]["seeds"] = [3, 5]
    quantization, other = [cell.quantization for cell in check(load_plan(_write(folder, plan))).cells[2:]]
    assert (quantization.label, other.label) == ("gptq W4A16-g32 seed 3", "gptq W4A16-g32 seed 5")
    assert (quantization.calibration, other.calibration) == ((16, 256, 3), (16, 256, 5))


def test_the_longest_window_or_prompt_decides_the_positions(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    (folder / "mine.jsonl").write_text('{"prompt": "a b"}')
    plan["kl_divergence"] = [{"prompts": "mine.jsonl", "length": 3000, "answer_tokens": 50}]
    sweep = check(load_plan(_write(folder, plan)))
    assert sweep.max_model_len == 3052
    assert sweep.prompts_file(sweep.plan.kl_divergence[0]) == folder / "mine.jsonl"


@pytest.mark.parametrize(("window", "works"), [(3050, True), (3049, False)])
def test_a_sliding_window_is_held_against_the_longest_text(window: int, works: bool, folder: Path) -> None:
    file = folder / "tiny" / "config.json"
    mistral = {"architectures": ["MistralForCausalLM"], "sliding_window": window}
    file.write_text(json.dumps({**json.loads(file.read_text()), **mistral}))
    plan = copy.deepcopy(GOOD)
    (folder / "mine.jsonl").write_text('{"prompt": "a b"}')
    plan["kl_divergence"] = [{"prompts": "mine.jsonl", "length": 3000, "answer_tokens": 50}]
    plan |= {"methods": [{"method": "gguf", "parameters": {"scheme": "F16"}}], "engines": ["llama_cpp"]}
    (cell,) = check(load_plan(_write(folder, plan))).cells
    assert (cell.unsupported is None) == works
    assert works or f"Plan no text of more than {window} tokens" in str(cell.unsupported)


def test_a_window_below_the_gates_texts_still_holds_them(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan |= {"max_length": 16, "kl_divergence": [], "perplexity": []}
    plan["load"] = [{"concurrency": 1, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}]
    sweep = check(load_plan(_write(folder, plan)))
    (model,) = sweep.models
    assert model.gate_tokens > 16
    assert sweep.max_model_len == model.gate_tokens + 2


def test_a_model_too_short_for_the_gates_is_refused(folder: Path) -> None:
    config = json.loads((folder / "tiny" / "config.json").read_text())
    (folder / "tiny" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    plan = copy.deepcopy(GOOD)
    plan |= {"max_length": 16, "kl_divergence": [], "perplexity": []}
    with pytest.raises(PlanError, match=r"has 40 positions, and the text of the sanity gate takes \d+ tokens"):
        check(load_plan(_write(folder, plan)))


def test_a_trace_is_a_load_of_its_own(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["load"] = [
        {"trace": "long.jsonl", "requests": 12},
        {"trace": "good.jsonl", "trace_speedup": 4, "requests": 11, "target_relative_ci": 0.1},
        {"trace": "good.jsonl"},
    ]
    sweep = check(load_plan(_write(folder, plan)))
    _, fast, full = sweep.loads
    assert [load.requests for load in sweep.loads] == [12, 11, 20]
    assert (fast.prompt_tokens, fast.output_tokens, fast.concurrency, fast.arrivals) == (8, 4, None, "trace")
    assert fast.rate_per_second == pytest.approx(4 * 10.0)
    assert fast.label == "good.jsonl: replayed at 4 × its speed, 40 requests/s"
    assert full.label == "good.jsonl: replayed, 10 requests/s"
    assert (fast.sizes, fast.max_repeats, full.max_repeats) == ("≤ 8 / ≤ 4", 10, 0)
    assert len(sweep.traces["good.jsonl"]) == 20
    assert set(sweep.traces) == {"long.jsonl", "good.jsonl"}
    assert sweep.max_model_len == 2050


def test_the_longest_request_of_a_trace_decides_the_positions(folder: Path) -> None:
    """Not its longest prompt and its longest answer, which no request has together."""
    plan = copy.deepcopy(GOOD)
    rows = [{**ARRIVALS[0], "input_length": 4000}, {**ARRIVALS[1], "output_length": 200}, *ARRIVALS[2:]]
    (folder / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan["load"] = [{"trace": "good.jsonl"}]
    sweep = check(load_plan(_write(folder, plan)))
    assert (sweep.loads[0].prompt_tokens, sweep.loads[0].output_tokens) == (4000, 200)
    assert sweep.max_model_len == 4006


def test_windows_and_strides_by_convention(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["perplexity"] = [{"convention": name} for name in ("papers", "strided", "llama.cpp")]
    parsed = load_plan(_write(folder, plan)).plan.perplexity
    assert [(perplexity_plan.window, perplexity_plan.stride) for perplexity_plan in parsed] == [
        (2048, 2048),
        (2048, 1024),
        (512, 512),
    ]


def test_an_existing_checkpoint_is_recognised(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    existing("gptq")(plan)
    cell = check(load_plan(_write(folder, plan))).cells[-1]
    assert (cell.quantization.label, cell.quantization.format) == ("existing W4A16", "gptq")


@pytest.mark.parametrize("name", BAD)
def test_bad_plan_names_place_and_fix(folder: Path, name: str) -> None:
    change, text, fix = BAD[name]
    plan = copy.deepcopy(GOOD)
    change(plan)
    if name == "no such GPU" and _has_gpu():
        pytest.skip("this machine has a GPU")
    file = _write(folder, plan)
    with pytest.raises(PlanError) as caught:
        check(load_plan(file))
    message = str(caught.value)
    assert text in message
    assert fix in message
    assert f"{file}:" in message
    assert all(problem.line >= 1 for problem in caught.value.problems)


@pytest.mark.parametrize("key", ["planted\n", "planted key", " planted", "plantedé"])
def test_a_key_is_one_word_of_ascii(folder: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", key)
    with pytest.raises(PlanError, match="THEIR_KEY contains a space, a line end or a non-ASCII character") as caught:
        check(load_plan(_write(folder, _attached("https://x:1"))))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("https://x:1", {}),
        ("http://localhost:1", {}),
        ("http://127.0.0.2", {}),
        ("http://[::1]:8000/v1", {}),
        ("http://x:1", {"allow_plain_http": True}),
    ],
)
def test_where_a_key_may_go(folder: Path, url: str, more: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", "their-key")
    assert check(load_plan(_write(folder, _attached(url, **more)))).key_variables == {"THEIR_KEY": "their-key"}


def _attached(url: str, **more: bool) -> dict[str, Any]:
    attached = {"engine": "openai", "methods": ["none"], "attach": {"url": url, "key_variable": "THEIR_KEY", **more}}
    return {**copy.deepcopy(GOOD), "engines": [attached], "methods": [{"method": "none"}]}


def _has_gpu() -> bool:
    from engines.telemetry.device import find_device

    return find_device().kind == "cuda"


def test_the_line_is_that_of_the_value(folder: Path) -> None:
    text = yaml.safe_dump(GOOD, sort_keys=False).replace("group_size: 32", "group_size: 96\n    bogus: 1", 1)
    (folder / "plan.yaml").write_text(text)
    with pytest.raises(PlanError) as caught:
        check(load_plan(folder / "plan.yaml"))
    line = caught.value.problems[0].line
    assert "bogus" in text.splitlines()[line - 1]


def test_the_command_exits_2_without_a_traceback(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["methods"][1]["parameters"]["group_size"] = 128
    file = _write(folder, plan)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "plan", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{file}:" in done.stderr
    assert "use 32" in done.stderr
    assert "Traceback" not in done.stderr


OLD_KEYS = {
    "service": ((), {"ttft_ms": 500}, "slo"),
    "closeness": ((), [{}], "kl_divergence"),
    "window_tokens": ((), 64, "max_length"),
    "spread": (("load", 0), 0.1, "target_relative_ci"),
    "most_repeats": (("load", 0), 3, "max_repeats"),
    "gap_variation": (("load", 0), 2.0, "arrival_cv"),
    "shared_tokens": (("load", 0), 2, "shared_prefix_tokens"),
    "shots": (("tasks", 0), 0, "num_fewshot"),
    "bits": (("methods", 2, "parameters"), 4, "scheme"),
    "format": (("methods", 1, "parameters"), "w4a16", "scheme"),
    "dampening_fraction": (("methods", 2, "parameters"), 0.1, "dampening_frac"),
}


@pytest.mark.parametrize("old", OLD_KEYS)
def test_an_old_key_names_the_new_one(folder: Path, old: str) -> None:
    where, value, new = OLD_KEYS[old]
    plan = copy.deepcopy(GOOD)
    set_key(*where, old, value=value)(plan)
    file = _write(folder, plan)
    with pytest.raises(PlanError, match=rf"fix: `{old}` is called `{new}` now; "):
        check(load_plan(file))


def test_prompts_that_cannot_be_read_name_wikitext_where_it_may_stand(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["kl_divergence"] = [{"prompts": "none.jsonl"}]
    with pytest.raises(PlanError, match=r"give `wikitext2`, or a JSONL file"):
        check(load_plan(_write(folder, plan)))


def test_no_remedy_names_a_key_that_is_called_otherwise_now() -> None:
    from engines.telemetry import kernel_log
    from evals.schema import failures
    from flows.plan.source import RENAMED

    texts = " ".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (kernel_log, failures))
    keys = set(RENAMED) - {"bits", "format", "type", "weights", "numbers", "activations", "spread", "service"}
    assert not [key for key in keys if f"`{key}`" in texts or f"`{key}:" in texts]


def test_many_problems_are_cut(folder: Path) -> None:
    with pytest.raises(PlanError, match="and 56 more problems"):
        load_plan(_write(folder, {**GOOD, "tasks": [{"tusk": "a"}] * 156}))
