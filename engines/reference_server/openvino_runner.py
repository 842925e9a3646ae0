"""The thread that owns an OpenVINO GenAI pipeline: its continuous batching does the work, we hand over and read."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openvino
import openvino_genai

from engines.reference_server.api_schema import Item, Scored
from engines.reference_server.model_thread import start_model_thread
from engines.reference_server.requests import Generation, ScoreJob


class OpenVinoRunner:
    """Runs jobs on the pipeline. `submit` may be called from any thread."""

    def __init__(self, pipeline: Any, on_crash: Callable[[BaseException], None]) -> None:
        self._pipeline = pipeline
        self._on_crash = on_crash
        self._jobs: queue.SimpleQueue[Generation | ScoreJob] = queue.SimpleQueue()
        self._scores: list[ScoreJob] = []
        self._active: list[tuple[Generation, Any]] = []
        self._ids = itertools.count()
        self.peak_cache_bytes = 0

    def start(self) -> None:
        start_model_thread(self._turn, self._on_crash)

    def submit(self, job: Generation | ScoreJob) -> None:
        self._jobs.put(job)

    def _turn(self) -> None:
        idle = not self._active and not self._scores
        while idle or not self._jobs.empty():
            job, idle = self._jobs.get(), False
            if isinstance(job, ScoreJob):
                self._scores.append(job)
            else:
                self._active.append((job, self._add(job.prompt, generation_config(job.max_tokens, job.stop_ids))))
        if self._active:
            self._step()
        elif self._scores:
            job = self._scores.pop(0)
            if job.future.set_running_or_notify_cancel():
                job.future.set_result(self.score(job.items))

    def _add(self, ids: Sequence[int], config: Any) -> Any:
        tensor = openvino.Tensor(np.asarray([ids], dtype=np.int64))
        return self._pipeline.add_request(next(self._ids), tensor, config)

    def _step(self) -> None:
        self._pipeline.step()
        metrics = self._pipeline.get_metrics()
        used = metrics.cache_usage / 100 * metrics.kv_cache_size_in_bytes
        self.peak_cache_bytes = max(self.peak_cache_bytes, int(used))
        for generation, handle in self._active:
            for token in _new_tokens(handle):
                generation.take(token)
            if generation.cancelled:
                handle.cancel()
        self._active = [(generation, handle) for generation, handle in self._active if not generation.finished]

    def score(self, items: Sequence[Item]) -> list[list[Scored]]:
        """Every continuation by a request that echoes its prompt's log-probabilities; results in the order given.

        The pipeline does not tell whether a prompt's token was the most likely one. So each context is also gone on
        from greedily, for as long as that agrees with a continuation; after the first token that does not, `greedy`
        is False, known or not. Whether *all* were the most likely, which is what tasks ask, is exact.
        """
        echo = generation_config(1, frozenset())
        echo.echo, echo.logprobs = True, 1
        asked = [[self._add([*item.context, *tokens], echo) for tokens in item.continuations] for item in items]
        greedy = self._go_on(items)
        results = []
        for item, handles, best in zip(items, asked, greedy, strict=True):
            start = len(item.context)
            lines = [handle.read_all()[0].generated_log_probs for handle in handles]  # the first entry means nothing
            scored = []
            for tokens, line in zip(item.continuations, lines, strict=True):
                agrees = [list(tokens[: n + 1]) == list(best[: n + 1]) for n in range(len(tokens))]
                scored.append(Scored([float(value) for value in line[start : start + len(tokens)]], agrees))
            results.append(scored)
        return results

    def _go_on(self, items: Sequence[Item]) -> list[list[int]]:
        """Greedy tokens after each context, as far as they agree with one of its continuations and one further."""
        longest = [max(len(tokens) for tokens in item.continuations) for item in items]
        handles = [
            self._add(item.context, generation_config(length, frozenset()))
            for item, length in zip(items, longest, strict=True)
        ]
        results: list[list[int]] = [[] for _ in items]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            for item, handle, tokens in zip(items, handles, results, strict=True):
                tokens += _new_tokens(handle)
                if not any(continuation[: len(tokens)] == tokens for continuation in item.continuations):
                    handle.cancel()
        return results


def generation_config(max_tokens: int, stop_ids: frozenset[int]) -> Any:
    """Greedy decoding of `max_tokens`, ended early by `stop_ids` alone."""
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = max_tokens
    config.do_sample = False
    config.ignore_eos = not stop_ids
    config.stop_token_ids = set(stop_ids)
    return config


def _new_tokens(handle: Any) -> list[int]:
    tokens: list[int] = []
    while handle.can_read():
        for output in handle.read().values():
            tokens += output.generated_ids
    return tokens
