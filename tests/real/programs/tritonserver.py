"""`tritonserver` with the vLLM backend for tests: its arguments, its model repository and the backend's tensors over a
real small model.

Sources: triton-inference-server/vllm_backend (README.md, src/utils/request.py), docs/protocol/extension_generate.md.
"""

from __future__ import annotations

import argparse
import json
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pages import Pages
from small_model import SmallModel

TENSORS = {
    "text_input",
    "image",
    "stream",
    "sampling_parameters",
    "exclude_input_in_output",
    "return_finish_reason",
    "return_cumulative_logprob",
    "return_logprobs",
    "return_num_input_tokens",
    "return_num_output_tokens",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model-repository", type=Path, required=True)
    for name in ("http-address", "metrics-address"):
        parser.add_argument(f"--{name}", default="0.0.0.0")
    for name in ("http-port", "metrics-port"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("exit-on-error", "allow-grpc", "allow-metrics"):
        parser.add_argument(f"--{name}", choices=("true", "false"))
    return parser.parse_args()


class Triton(Pages):
    key = ""
    model: SmallModel

    def do_GET(self) -> None:
        self.say(200 if self.path == "/v2/health/ready" else 404)

    def do_POST(self) -> None:
        body = self.body()
        if self.path not in ("/v2/models/served/generate", "/v2/models/served/generate_stream"):
            return self.say(400, {"error": "Request for unknown model"})
        if set(body) - TENSORS:
            return self.say(400, {"error": f"unexpected inference inputs {sorted(set(body) - TENSORS)}"})
        sampling = json.loads(body["sampling_parameters"])
        ids = self.model.ids(body["text_input"])
        made = self.model.greedy(ids, sampling["max_tokens"], ignore_end=sampling.get("ignore_eos", False))
        if self.path.endswith("generate"):
            return self._answer(body, ids, list(made))
        self.open_stream("text/event-stream")
        for _, piece, _ in made:
            event = {"model_name": "served", "model_version": "1", "text_output": piece, **self._counts(body, ids, 1)}
            self.write_chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        return self.close_stream()

    def _counts(self, body: dict[str, Any], ids: list[int], added: int) -> dict[str, int]:
        """Each is told where it is asked for; of the output, the tokens of this response."""
        counts = {"num_input_tokens": len(ids), "num_output_tokens": added}
        return {name: value for name, value in counts.items() if body.get(f"return_{name}")}

    def _answer(self, body: dict[str, Any], ids: list[int], made: list[tuple[int, str, float]]) -> None:
        text = "".join(piece for _, piece, _ in made)
        before = "" if body.get("exclude_input_in_output") else body["text_input"]
        answer = {"model_name": "served", "text_output": before + text, **self._counts(body, ids, len(made))}
        return self.say(200, answer)


if __name__ == "__main__":
    given = arguments()
    served = given.model_repository / "served"
    assert 'backend: "vllm"' in (served / "config.pbtxt").read_text()
    settings = json.loads((served / "1" / "model.json").read_text())
    Triton.model = SmallModel(settings["model"])
    ThreadingHTTPServer((given.http_address, given.http_port), Triton).serve_forever()
