"""A real small model for the emulators beside this file, which speak other servers' protocols. For the environment
`transformers`. No figure of an emulator is ever a result.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class SmallModel:
    """Greedy generation and log-probabilities of a folder's model in float32, one request at a time."""

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(2)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.end = self.tokenizer.eos_token_id
        self.lock = threading.Lock()

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text)["input_ids"])

    def text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids))

    @torch.inference_mode()
    def logits(self, ids: list[int]) -> torch.Tensor:
        """Shape (tokens, vocabulary)."""
        with self.lock:
            return self.model(torch.tensor([ids])).logits[0]

    def prompt_logprobs(self, ids: list[int]) -> list[float | None]:
        lines = torch.log_softmax(self.logits(ids)[:-1], dim=-1)
        return [None, *(float(line[token]) for line, token in zip(lines, ids[1:], strict=True))]

    def greedy(self, ids: list[int], count: int, *, ignore_end: bool = False) -> Iterator[tuple[int, str, float]]:
        """(token, the text that it completes, its log-probability); a character's first bytes are kept back."""
        cache, given, made, shown = None, ids, [], 0
        for _ in range(count):
            with self.lock, torch.inference_mode():
                step = self.model(torch.tensor([given]), past_key_values=cache, use_cache=True)
            cache, line = step.past_key_values, torch.log_softmax(step.logits[0, -1], dim=-1)
            token = int(line.argmax())
            made.append(token)
            given = [token]
            text = self.text(made)
            piece = "" if text.endswith("\ufffd") else text[shown:]
            shown += len(piece)
            yield token, piece, float(line[token])
            if token == self.end and not ignore_end:
                return
