"""Our lm-eval model over a scorer that is known, so that every figure can be worked out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from evals.accuracy import EndpointLM, measure_accuracy
from evals.generation import Prompt, cut
from evals.pairs import Pair, Scored
from evals.tasks import TaskSpec, load_tasks
from tests.evals.test_tasks import _root


def _scorer(pairs: Sequence[Pair]) -> list[Scored]:
    return [Scored((-1.0,) * len(pair.continuation), (True,) * len(pair.continuation)) for pair in pairs]


def _generator(prompts: Sequence[Prompt]) -> list[str]:
    return ["answer"] * len(prompts)


def _model(folder: Path, max_length: int = 8) -> EndpointLM:
    return EndpointLM(folder, _scorer, _generator, max_length)


def test_a_long_context_is_cut_on_the_left(tiny_model: Path) -> None:
    pair = _model(tiny_model)._pair(list(range(20)), [1, 2])
    assert pair == Pair((13, 14, 15, 16, 17, 18, 19), (1, 2))  # 9 tokens: 8 are fed, the last is only predicted


def test_a_continuation_longer_than_the_window_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="a continuation of 9 tokens does not fit a window of 8"):
        _model(tiny_model)._pair([1], [2] * 9)


def test_a_tokenizer_without_end_is_refused(tiny_model: Path) -> None:
    (tiny_model / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
    with pytest.raises(ValueError, match=r"tokenizer_config\.json names no eos_token"):
        _model(tiny_model)


def test_rolling_windows_score_every_token_once(tiny_model: Path) -> None:
    text = " ".join("abcdef"[i % 6] for i in range(19))
    (total,) = _model(tiny_model).loglikelihood_rolling([SimpleNamespace(args=(text,))])
    assert total == -19.0


def test_the_prefix_is_the_begin_token_where_there_is_one(tiny_model: Path) -> None:
    model = _model(tiny_model)
    assert (model.prefix_token_id, model.eot_token_id) == (0, 1)
    (tiny_model / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    assert _model(tiny_model).prefix_token_id == 1


def test_a_prompt_leaves_room_for_its_answer(tiny_model: Path) -> None:
    prompt = _model(tiny_model)._prompt("a b c d e f a b c d", {"until": ["\n"], "max_gen_toks": 3})
    assert len(prompt.token_ids) == 5
    assert (prompt.max_tokens, prompt.until) == (3, ("\n",))
    assert _model(tiny_model).generate_until([SimpleNamespace(args=("a b", {"until": "x", "max_gen_toks": 2}))]) == [
        "answer"
    ]


def test_sampling_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="samples at a temperature above 0"):
        _model(tiny_model)._prompt("a", {"do_sample": True, "temperature": 0.7})


def test_an_answer_ends_before_its_first_stop() -> None:
    assert cut("yes\n\nQ: no.", ["Q:", "\n\n"]) == "yes"
    assert cut("yes", ["\n", ""]) == "yes"


def test_items_keep_their_raw_values(tiny_model: Path, tmp_path: Path) -> None:
    specs = [TaskSpec("arc_easy", 3)]
    tasks = load_tasks(specs, _root(tmp_path), tmp_path / "work", seed=0)
    (score,) = measure_accuracy(_scorer, _generator, tiny_model, tasks, specs, max_length=64)
    assert (score.task, score.group, score.shots) == ("arc_easy", "arc_easy", 0)
    assert score.metrics == ("acc", "acc_norm")
    assert score.values == ((1.0, 1.0),) * 3  # both choices are one token and equal: the first is taken, and right
    assert score.loglikelihoods == ((-1.0, -1.0),) * 3
    assert [int(key.split(":")[0]) for key in score.item_keys] == tasks.samples["arc_easy"]
