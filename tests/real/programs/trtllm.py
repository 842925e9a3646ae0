"""`trtllm-serve` for tests: its arguments, strict fields and streams over a real small model.

Sources: tensorrt_llm/commands/serve.py, serve/openai_protocol.py (`extra="forbid"`) and serve/postprocess_handlers.py.
"""

from __future__ import annotations

import argparse
import json
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from pages import Pages
from small_model import SmallModel

FIELDS = {
    "model",
    "prompt",
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
    "lora_request",
    "prompt_ignore_length",
    "use_beam_search",
    "top_k",
    "top_p_min",
    "min_p",
    "repetition_penalty",
    "length_penalty",
    "early_stopping",
    "stop_token_ids",
    "include_stop_str_in_output",
    "ignore_eos",
    "min_tokens",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "truncate_prompt_tokens",
    "return_context_logits",
    "detokenize",
    "thinking_token_budget",
    "add_special_tokens",
    "response_format",
    "disaggregated_params",
    "priority",
    "conversation_params",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--backend", choices=("pytorch", "tensorrt", "_autodeploy"), default="pytorch")
    for name in ("port", "max_batch_size", "max_seq_len", "tp_size", "pp_size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--kv_cache_free_gpu_memory_fraction", type=float, default=0.9)
    parser.add_argument("--extra_llm_api_options", type=Path)
    return parser.parse_args()


class TrtLlm(Pages):
    key = ""  # it has none
    model: SmallModel
    given: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/metrics":  # statistics of the steps since it was read last, if they are kept
            enabled = yaml.safe_load(self.given.extra_llm_api_options.read_text())["enable_iter_perf_stats"]
            blocks = {"maxNumBlocks": 1000, "tokensPerBlock": 32, "usedNumBlocks": 3}
            return self.say(200, [{"iter": 1, "kvCacheStats": blocks}] if enabled else [])
        return self.say(200 if self.path == "/health" else 404)

    def do_POST(self) -> None:
        body = self.body()
        wrong = self._wrong(body)
        if wrong:
            return self.say(400, {"object": "error", "message": wrong, "type": "BadRequestError", "code": 400})
        prompt = body["prompt"] if isinstance(body["prompt"], list) else self.model.ids(body["prompt"])
        return self._stream(prompt, body) if body.get("stream") else self._answer(prompt, body)

    def _wrong(self, body: dict[str, Any]) -> str | None:
        if set(body) - FIELDS:
            return f"Extra inputs are not permitted: {sorted(set(body) - FIELDS)}"
        options = body.get("stream_options")
        if options and not body.get("stream"):
            return "Stream options can only be defined when stream is true."
        if options and set(options) - {"include_usage", "continuous_usage_stats"}:
            return "Extra inputs are not permitted"
        return None

    def _usage(self, prompt: list[int], count: int) -> dict[str, Any]:
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": count,
            "total_tokens": len(prompt) + count,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def _answer(self, prompt: list[int], body: dict[str, Any]) -> None:
        made = list(self.model.greedy(prompt, body["max_tokens"], ignore_end=body.get("ignore_eos", False)))
        logits = self.model.logits(prompt).tolist() if body.get("return_context_logits") else None
        text = "".join(piece for _, piece, _ in made)
        choice = {"index": 0, "text": text, "token_ids": None, "logprobs": None, "context_logits": logits}
        self.say(200, {"choices": [choice], "usage": self._usage(prompt, len(made)), "model": body["model"]})

    def _stream(self, prompt: list[int], body: dict[str, Any]) -> None:
        self.open_stream("text/event-stream")
        options = body.get("stream_options") or {}
        usage = bool(options) and options.get("include_usage", True)
        count = 0
        for _, piece, _ in self.model.greedy(prompt, body["max_tokens"], ignore_end=body.get("ignore_eos", False)):
            count += 1
            event: dict[str, Any] = {"choices": [{"index": 0, "text": piece, "token_ids": None}], "usage": None}
            if usage and options.get("continuous_usage_stats"):
                event["usage"] = self._usage(prompt, count)
            self.write_chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        if usage:
            closing = {"choices": [], "usage": self._usage(prompt, count)}
            self.write_chunk(b"data: " + json.dumps(closing).encode() + b"\n\n")
        self.write_chunk(b"data: [DONE]\n\n")
        self.close_stream()


if __name__ == "__main__":
    TrtLlm.given = arguments()
    TrtLlm.model = SmallModel(TrtLlm.given.model)
    ThreadingHTTPServer((TrtLlm.given.host, TrtLlm.given.port), TrtLlm).serve_forever()
