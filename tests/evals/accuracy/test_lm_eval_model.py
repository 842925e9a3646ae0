"""Our lm-eval model over a scorer that is known, so that every figure can be worked out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import evals.accuracy.lm_eval_model
from evals.accuracy.adaptive_budget import joined
from evals.accuracy.chat_template import ChatTemplateError
from evals.accuracy.contamination import runs
from evals.accuracy.lm_eval_model import EndpointLM, _passage, _score, evaluate
from evals.scoring.generate import Prompt, cut
from evals.scoring.types import Pair, Scored
from evals.tasks.loaded_tasks import TaskSpec, load_tasks
from tests.support.datasets import write_data_root


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


@pytest.mark.parametrize(
    ("options", "tokens", "until"),
    [
        ({"max_gen_toks": 16}, 16, ()),
        ({"max_new_tokens": 16}, 16, ()),
        ({"max_tokens": 16, "until": "x"}, 16, ("x",)),
        ({"max_completion_tokens": 16, "until": None}, 16, ()),
        ({"max_tokens": 8, "max_gen_toks": 16, "until": ["", "x"]}, 16, ("x",)),
        ({"temperature": 0.7, "do_sample": False}, 256, ()),
    ],
)
def test_an_answers_length_is_lm_evals_own_rule(
    tiny_model: Path, options: dict[str, Any], tokens: int, until: tuple[str, ...]
) -> None:
    prompt = _model(tiny_model, 512)._prompt("a b", options)
    assert (prompt.max_tokens, prompt.until) == (tokens, until)


@pytest.mark.parametrize("options", [{"do_sample": True, "temperature": 0.7}, {"temperature": 0.7}])
def test_sampling_is_refused(tiny_model: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="samples at a temperature above 0"):
        _model(tiny_model)._prompt("a", options)


def test_an_answer_ends_before_its_first_stop() -> None:
    assert cut("yes\n\nQ: no.", ["Q:", "\n\n"]) == "yes"
    assert cut("yes", ["\n", ""]) == "yes"


def test_items_keep_their_raw_values(tiny_model: Path, tmp_path: Path) -> None:
    specs = [TaskSpec("arc_easy", 3)]
    tasks = load_tasks(specs, write_data_root(tmp_path), tmp_path / "work", seed=0)
    (score,) = evaluate(_model(tiny_model, 64), tasks)
    assert (score.task, score.group, score.num_fewshot) == ("arc_easy", "arc_easy", 0)
    assert score.metrics == ("acc", "acc_norm")
    assert score.values == ((1.0, 1.0),) * 3  # both choices are one token and equal: the first is taken, and right
    assert score.loglikelihoods == ((-1.0, -1.0),) * 3
    assert [int(key.split(":")[0]) for key in score.item_keys] == tasks.samples["arc_easy"]
    assert sorted(score.ranks) == [0, 1, 2]
    assert score.drawn == 3
    assert score.clusters == ("", "", "")
    assert score.empty_contexts == 0
    assert score.margins == (0.0,) * 3
    assert [len(texts) for texts in score.texts] == [3, 3, 3]  # the question and both answers
    assert all(texts[0].startswith("Question: ") for texts in score.texts)


def test_some_items_first_and_the_others_later_are_all_items(tiny_model: Path, tmp_path: Path) -> None:
    specs = [TaskSpec("arc_easy", 5)]
    tasks = load_tasks(specs, write_data_root(tmp_path), tmp_path / "work", seed=0)
    model = _model(tiny_model, 64)
    first = evaluate(model, tasks, tasks.ranked({"arc_easy": (0, 1)}))
    rest = evaluate(model, tasks, tasks.ranked({"arc_easy": (2, 3, 4)}))
    assert sorted(first[0].ranks) == [0, 1]
    (both,), (full,) = joined([*first, *rest]), evaluate(model, tasks)
    assert set(zip(both.ranks, both.item_keys, strict=True)) == set(zip(full.ranks, full.item_keys, strict=True))
    assert both.drawn == full.drawn == 5
    assert sorted(both.margins) == sorted(full.margins)
    assert joined([first[0], replace(rest[0], margins=())])[0].margins == ()
    assert sorted(both.texts) == sorted(full.texts)


def test_texts_are_kept_of_the_first_items_and_cut(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evals.accuracy.lm_eval_model, "KEPT_TEXTS", 2)
    monkeypatch.setattr(evals.accuracy.lm_eval_model, "QUESTION_CHARACTERS", 7)
    specs = [TaskSpec("arc_easy", 4)]
    (score,) = evaluate(_model(tiny_model, 64), load_tasks(specs, write_data_root(tmp_path), tmp_path / "work", seed=0))
    recorded = [texts for rank, texts in zip(score.ranks, score.texts, strict=True) if rank < 2]
    assert [texts[0] for texts in recorded] == ["…Answer:"] * 2
    assert sum(bool(texts) for texts in score.texts) == 2


def test_what_was_cut_and_what_calibrated_is_counted(tiny_model: Path) -> None:
    model = EndpointLM(tiny_model, _scorer, _generator, 20, runs([list(range(2, 16))]))
    model._pair(list(range(2, 16)), [1])
    model._pair([5, 5, 5], [1])
    model._pair([5] * 30, [1])
    model._prompt("a b c d e f " * 5, {"max_gen_toks": 4})
    assert (model.seen.requests, model.seen.cut, model.seen.calibrated) == (4, 2, 1)


def test_an_answer_that_leaves_no_room_for_its_prompt_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match="an answer of up to 8 tokens leaves no room in a window of 8"):
        _model(tiny_model)._prompt("a", {"max_gen_toks": 8})


def test_a_chat_template_is_applied_and_a_system_message_left_out_where_it_is_refused(tiny_model: Path) -> None:
    model = _model(tiny_model)
    with pytest.raises(ChatTemplateError, match="has no chat template"):
        model.apply_chat_template([{"role": "user", "content": "a"}])
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    (tiny_model / "chat_template.jinja").write_text(template)
    assert model.apply_chat_template([{"role": "user", "content": "a"}]) == "<user>a<assistant>"
    assert model.chat_template(True) == template
    history = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    assert model.apply_chat_template(history) == "<user>a<assistant>"


def test_questions_in_the_chat_template_are_other_questions(tiny_model: Path, tmp_path: Path) -> None:
    (tiny_model / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    specs = [TaskSpec("arc_easy", 3)]
    tasks = load_tasks(specs, write_data_root(tmp_path), tmp_path / "work", seed=0)
    (plain,) = evaluate(_model(tiny_model, 64), tasks)
    (chat,) = evaluate(_model(tiny_model, 64), tasks, chat_template=True)
    assert {*plain.item_keys}.isdisjoint(chat.item_keys)


def test_items_that_begin_alike_share_a_passage() -> None:
    passage = "It is told of a river " * 12
    first, other = (_passage({"article": passage + end, "question": "short"}) for end in ("x", "y"))
    assert first == other != ""
    assert _passage({"article": "A" + passage, "question": "short"}) != first
    assert _passage({"question": "short"}) == ""


def test_metrics_of_a_whole_set_have_no_items(tiny_model: Path) -> None:
    tasks = SimpleNamespace(samples={"t": [0]}, ranks={"t": [0]}, parents={"t": "t"})
    sample = {"filter": "none", "metrics": ["bleu"], "bleu": ("reference", "answer")}
    with pytest.raises(ValueError, match=r"task 't' has no metric of single items \(bleu\)"):
        _score("t", tasks, 0, [sample])  # type: ignore[arg-type]
