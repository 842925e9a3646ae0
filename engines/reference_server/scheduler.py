"""The one thread that owns the model: it serves generation first and scores when nothing is being generated."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from engines.reference_server.decode import Running
from engines.reference_server.model_thread import start_model_thread
from engines.reference_server.requests import Generation, ScoreJob
from engines.reference_server.scoring import score


class Loop:
    """Runs jobs on the model, one forward pass at a time. `submit` may be called from any thread."""

    def __init__(self, model: Any, max_batch: int, on_crash: Callable[[BaseException], None]) -> None:
        self._model = model
        self._max_batch = max_batch
        self._on_crash = on_crash
        self._generations: queue.SimpleQueue[Generation] = queue.SimpleQueue()
        self._scores: queue.SimpleQueue[ScoreJob] = queue.SimpleQueue()
        self._wake = threading.Event()
        self.running = Running()

    @property
    def peak_cache_bytes(self) -> int:
        return self.running.peak_cache_bytes

    def start(self) -> None:
        start_model_thread(self._turn, self._on_crash)

    def submit(self, job: Generation | ScoreJob) -> None:
        if isinstance(job, Generation):
            self._generations.put(job)
        else:
            self._scores.put(job)
        self._wake.set()

    def _turn(self) -> None:
        new = self._take_new()
        if new:
            self.running.join(self._model, new)
        if self.running.generations:
            self.running.step(self._model)
        elif not self._score_one() and not new:
            self._wake.wait(0.5)
            self._wake.clear()

    def _take_new(self) -> list[Generation]:
        room = self._max_batch - len(self.running.generations)
        new: list[Generation] = []
        while len(new) < room and not self._generations.empty():
            new.append(self._generations.get())
        return [generation for generation in new if not generation.cancelled]

    def _score_one(self) -> bool:
        if self._scores.empty():
            return False
        job = self._scores.get()
        if job.future.set_running_or_notify_cancel():
            job.future.set_result(score(self._model, job.items))
        return True
