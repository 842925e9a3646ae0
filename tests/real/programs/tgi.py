"""`text-generation-launcher` for tests: the arguments, pages and errors of TGI's documents over a real small model.

Documents: docs/source/reference/launcher.md and docs/openapi.json of text-generation-inference.
"""

from __future__ import annotations

import argparse
import json
from http.server import ThreadingHTTPServer
from typing import Any

from pages import Pages
from small_model import SmallModel

PARAMETERS = {
    "adapter_id",
    "best_of",
    "decoder_input_details",
    "details",
    "do_sample",
    "frequency_penalty",
    "grammar",
    "max_new_tokens",
    "repetition_penalty",
    "return_full_text",
    "seed",
    "stop",
    "temperature",
    "top_k",
    "top_n_tokens",
    "top_p",
    "truncate",
    "typical_p",
    "watermark",
}
QUANTIZE = (
    "awq",
    "compressed-tensors",
    "eetq",
    "exl2",
    "gptq",
    "marlin",
    "bitsandbytes",
    "bitsandbytes-nf4",
    "bitsandbytes-fp4",
    "fp8",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model-id", required=True)
    parser.add_argument("--hostname", default="0.0.0.0")
    for name in ("port", "max-input-tokens", "max-total-tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("max-concurrent-requests", "num-shard"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--cuda-memory-fraction", type=float, default=1.0)
    parser.add_argument("--dtype", choices=("float16", "bfloat16"))
    parser.add_argument("--quantize", choices=QUANTIZE)
    parser.add_argument("--kv-cache-dtype", choices=("fp8_e4m3fn", "fp8_e5m2"))
    for name in ("enable-prefill-logprobs", "disable-grammar-support", "trust-remote-code"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


class Tgi(Pages):
    model: SmallModel
    given: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", "0")
            self.end_headers()
        elif self.path == "/health":
            self.say(200)
        else:
            self.say(404)

    def do_POST(self) -> None:
        body = self.body()
        if not self.allowed():
            return self.say(401)
        parameters = body.get("parameters", {})
        wrong = self._wrong(body, parameters)
        if wrong:
            return self.say(422, {"error": f"Input validation error: {wrong}", "error_type": "validation"})
        ids = self.model.ids(body["inputs"])
        if self.path == "/generate_stream":
            return self._stream(ids, parameters)
        return self._answer(ids, parameters)

    def _wrong(self, body: dict[str, Any], parameters: dict[str, Any]) -> str | None:
        if not isinstance(body.get("inputs"), str) or not body["inputs"]:
            return "`inputs` cannot be empty"
        if set(parameters) - PARAMETERS:
            return f"unknown parameters {sorted(set(parameters) - PARAMETERS)}"
        if parameters.get("decoder_input_details") and self.path == "/generate_stream":
            return "`decoder_input_details` == true is not supported when streaming tokens"
        length, count = len(self.model.ids(body["inputs"])), parameters["max_new_tokens"]
        if length > self.given.max_input_tokens:
            return f"`inputs` must have less than {self.given.max_input_tokens} tokens. Given: {length}"
        if length + count > self.given.max_total_tokens:
            return f"`inputs` tokens + `max_new_tokens` must be <= {self.given.max_total_tokens}"
        return None

    def _reason(self, token: int) -> str:
        return "eos_token" if token == self.model.end else "length"

    def _token(self, token: int, text: str, logprob: float) -> dict[str, Any]:
        return {"id": token, "text": text, "logprob": logprob, "special": token == self.model.end}

    def _answer(self, ids: list[int], parameters: dict[str, Any]) -> None:
        made = list(self.model.greedy(ids, parameters["max_new_tokens"]))
        prefill = []
        if parameters.get("decoder_input_details") and self.given.enable_prefill_logprobs:
            values = zip(ids, self.model.prompt_logprobs(ids), strict=True)
            prefill = [{"id": token, "text": self.model.text([token]), "logprob": value} for token, value in values]
        details = {
            "finish_reason": self._reason(made[-1][0]),
            "generated_tokens": len(made),
            "seed": None,
            "prefill": prefill,
            "tokens": [self._token(*entry) for entry in made],
        }
        text = "".join(piece for token, piece, _ in made if token != self.model.end)
        self.say(200, {"generated_text": text, "details": details if parameters.get("details") else None})

    def _stream(self, ids: list[int], parameters: dict[str, Any]) -> None:
        self.open_stream("text/event-stream")
        text, count = "", parameters["max_new_tokens"]
        for index, (token, piece, logprob) in enumerate(self.model.greedy(ids, count), start=1):
            last = index == count or token == self.model.end
            text += "" if token == self.model.end else piece
            details = {
                "finish_reason": self._reason(token),
                "generated_tokens": index,
                "seed": None,
                "input_length": len(ids),
            }
            event = {
                "index": index,
                "token": self._token(token, piece, logprob),
                "generated_text": text if last else None,
                "details": details if last else None,
            }
            self.write_chunk(b"data:" + json.dumps(event).encode() + b"\n\n")
        self.close_stream()


if __name__ == "__main__":
    Tgi.given = arguments()
    Tgi.model = SmallModel(Tgi.given.model_id)
    ThreadingHTTPServer((Tgi.given.hostname, Tgi.given.port), Tgi).serve_forever()
