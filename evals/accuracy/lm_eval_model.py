"""lm-eval against the engine that was timed: one `TemplateLM` over the dialect, raw per-item results kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.evaluator
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evals.accuracy.answer_margin import answer_margins
from evals.accuracy.chat_template import ChatTemplateError, render, special_tokens, template_of
from evals.accuracy.contamination import Runs, shares_a_run
from evals.api.tokenizers import load_tokenizer, special_ids
from evals.schema.accuracy import Score
from evals.scoring.generate import Prompt
from evals.scoring.types import Pair, Scored
from evals.tasks.loaded_tasks import LoadedTasks

Request = tuple[Any, list[int], list[int]]
Scorer = Callable[[Sequence[Pair]], list[Scored]]
Generator = Callable[[Sequence[Prompt]], list[str]]
PASSAGE_CHARACTERS = 200
KEPT_TEXTS = 200  # of each task, the first of its random order: enough to show what flips
QUESTION_CHARACTERS, ANSWER_CHARACTERS = 400, 160

logging.getLogger("lm_eval").setLevel(logging.ERROR)
lm_eval.evaluator.get_git_commit_hash = lambda: None  # it prints "fatal: not a git repository" past every filter


@dataclass
class Seen:
    """What of the requests so far was cut to the window, and what holds a run of the calibration text."""

    requests: int = 0
    cut: int = 0
    calibrated: int = 0


class EndpointLM(TemplateLM):  # type: ignore[misc]
    """The model behind an endpoint, as lm-eval sees it. Encodes and windows exactly as lm-eval's `hf` model does.

    `max_length` is the window of every engine alike: a context is cut on the left to fit, and a rolling window
    predicts at most that many tokens. `calibration` holds the runs of tokens that calibrated the checkpoint; `seen`
    counts what holds one of them. `template_folder` has the chat template; it is the model's own for all checkpoints.
    """

    backend = "causal"

    def __init__(
        self,
        folder: Path,
        scorer: Scorer,
        generator: Generator,
        max_length: int,
        calibration: Runs = frozenset(),
        template_folder: Path | None = None,
    ) -> None:
        super().__init__()
        self._template_folder = template_folder or folder
        self._text_to_ids = load_tokenizer(folder)
        self._calibration = calibration
        self.seen = Seen()
        self._scorer = scorer
        self._generator = generator
        self._max_length = max_length
        bos, eos = special_ids(folder, self._text_to_ids)
        if eos is None:
            raise ValueError(f"{folder}: tokenizer_config.json names no eos_token")
        self._eos = eos
        self._prefix = eos if bos is None else bos
        self._prefix_text = self._text_to_ids.decode([self._prefix], skip_special_tokens=False)

    @property
    def eot_token_id(self) -> int:
        return self._eos

    @property
    def prefix_token_id(self) -> int:
        return self._prefix

    @property
    def max_length(self) -> int:
        return self._max_length

    @property
    def tokenizer_name(self) -> str:
        return "served"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self._prefix_text)
        ids: list[int] = self._text_to_ids.encode(string, add_special_tokens=add_special_tokens).ids
        return ids

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return answers

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        pairs = [self._pair(context, continuation) for _, context, continuation in requests]
        return [(sum(score.logprobs), all(score.greedy)) for score in self._scorer(pairs)]

    def _pair(self, context: list[int], continuation: list[int]) -> Pair:
        tokens = (context + continuation)[-(self._max_length + 1) :]
        split = len(tokens) - len(continuation)
        if split < 1:
            raise ValueError(
                f"a continuation of {len(continuation)} tokens does not fit a window of {self._max_length}"
            )
        self.seen.requests += 1
        self.seen.cut += len(tokens) < len(context) + len(continuation)
        pair = Pair(tuple(tokens[:split]), tuple(continuation))
        self.seen.calibrated += shares_a_run(pair, self._calibration)
        return pair

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        windows: list[Request] = []
        counts = []
        for request in requests:
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self._prefix,
                max_seq_len=self._max_length,
                context_len=1,
            )
            pairs = [make_disjoint_window(window) for window in rolling]
            windows += [(None, *pair) for pair in pairs]
            counts.append(len(pairs))
        scores = iter(self._loglikelihood_tokens(windows))
        return [sum(next(scores)[0] for _ in range(count)) for count in counts]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return self._generator([self._prompt(*request.args) for request in requests])

    def _prompt(self, context: str, options: dict[str, Any]) -> Prompt:
        asked = normalize_gen_kwargs(options)
        if asked["do_sample"] and asked.get("temperature", 0) > 0:
            raise ValueError("this task samples at a temperature above 0; only greedy answers can be compared")
        count = asked["max_gen_toks"]
        if count >= self._max_length:
            raise ValueError(f"an answer of up to {count} tokens leaves no room in a window of {self._max_length}")
        tokens = self.tok_encode(context)
        ids = tuple(tokens[-(self._max_length - count) :])
        self.seen.requests += 1
        self.seen.cut += len(ids) < len(tokens)
        self.seen.calibrated += shares_a_run(Pair(ids, ()), self._calibration)
        return Prompt(ids, count, tuple(stop for stop in asked["until"] if stop))

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return template_of(self._template_folder)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As lm-eval's `hf`: a template that refuses a system message gets the messages without it."""
        template, special = template_of(self._template_folder), special_tokens(self._template_folder)
        if template is None:
            raise ChatTemplateError(f"{self._template_folder} has no chat template")
        try:
            return render(template, special, chat_history, add_generation_prompt=add_generation_prompt)
        except ChatTemplateError:
            plain = [message for message in chat_history if message["role"] != "system"]
            if len(plain) == len(chat_history):
                raise
            return render(template, special, plain, add_generation_prompt=add_generation_prompt)


def evaluate(
    model: TemplateLM,
    tasks: LoadedTasks,
    chosen: Mapping[str, Sequence[int]] | None = None,
    *,
    chat_template: bool = False,
) -> list[Score]:
    """Run lm-eval on any of its models and keep each item's values; `chosen` items of each leaf, or all drawn ones.

    `bootstrap_iters=0`: errors are computed from the items, in the report. With `chat_template` a question is a user's
    turn and few-shot examples are turns before it.
    """
    asked = {leaf: list(items) for leaf, items in (tasks.samples if chosen is None else chosen).items() if items}
    result = simple_evaluate(
        model=model,
        tasks=[tasks.leaves[leaf] for leaf in asked],
        task_manager=tasks.manager,
        samples=asked,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=chat_template,
    )
    # lm-eval writes the number that it used into each leaf's configuration
    return [
        _score(leaf, tasks, tasks.leaves[leaf].get_config("num_fewshot"), result["samples"][leaf])
        for leaf in sorted(asked)
    ]


def _score(leaf: str, tasks: LoadedTasks, num_fewshot: int, samples: Sequence[dict[str, Any]]) -> Score:
    samples = [
        sample for sample in samples if sample["filter"] == samples[0]["filter"]
    ]  # a task's other filters repeat its items
    metrics = tuple(metric for metric in samples[0]["metrics"] if isinstance(_plain(samples[0][metric]), int | float))
    if not metrics:
        raise ValueError(f"task '{leaf}' has no metric of single items ({', '.join(samples[0]['metrics'])})")
    ranks = dict(zip(tasks.samples[leaf], tasks.ranks[leaf], strict=True))
    return Score(
        task=leaf,
        group=tasks.parents[leaf],
        num_fewshot=num_fewshot,
        metrics=metrics,
        item_keys=tuple(
            f"{sample['doc_id']}:{sample['doc_hash'][:12]}:{sample['prompt_hash'][:12]}" for sample in samples
        ),
        values=tuple(tuple(float(_plain(sample[metric])) for metric in metrics) for sample in samples),
        loglikelihoods=tuple(_loglikelihoods(sample["filtered_resps"]) for sample in samples),
        ranks=tuple(ranks[sample["doc_id"]] for sample in samples),
        drawn=len(tasks.samples[leaf]),
        clusters=tuple(_passage(sample["doc"]) for sample in samples),
        empty_contexts=sum(not sample["arguments"][0][0].strip() for sample in samples),
        margins=answer_margins(samples, metrics),
        texts=tuple(_texts(sample) if ranks[sample["doc_id"]] < KEPT_TEXTS else () for sample in samples),
    )


def _texts(sample: Mapping[str, Any]) -> tuple[str, ...]:
    """The end of what is asked, then every answer; of generated ones, what was generated."""
    arguments = sample["arguments"]
    answers = [
        argument[1] if isinstance(argument[1], str) else str(sample["filtered_resps"][0])
        for argument in arguments
        if len(argument) > 1
    ]
    return (_end(arguments[0][0], QUESTION_CHARACTERS), *(_end(answer, ANSWER_CHARACTERS) for answer in answers))


def _end(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[-most:]}"


def _passage(doc: Any) -> str:
    """What items that share a passage have in common: a digest of how their longest text begins; empty for short ones.

    RACE, BoolQ or SQuAD have a field for the passage, MMLU's history puts it before the question.
    """
    texts = [value for value in doc.values() if isinstance(value, str)] if isinstance(doc, dict) else []
    longest = max(texts, key=len, default="")
    if len(longest) < PASSAGE_CHARACTERS:
        return ""
    return hashlib.sha256(longest[:PASSAGE_CHARACTERS].encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """A metric's value of one item; of the (log-likelihood, units) pairs of rolling tasks, the units. Metrics of a
    whole set (BLEU) have texts.
    """
    return value[1] if isinstance(value, (tuple, list)) else value


def _loglikelihoods(responses: Sequence[Any]) -> tuple[float, ...]:
    """Of each choice; nothing for tasks that generate text."""
    values = [response[0] if isinstance(response, (tuple, list)) else response for response in responses]
    return tuple(float(value) for value in values if not isinstance(value, str))
