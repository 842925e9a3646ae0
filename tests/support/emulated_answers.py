"""What the emulator answers in each dialect, over the made-up model: bodies in, JSON out, no connection."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

from tests.support.made_up_model import HALF, VOCABULARY, best, logit, logprob, most_likely


class Answers:
    """`path` is the request's; `behaviour` as `tests.support.emulator` lists them."""

    path: str
    behaviour = "good"

    def payload(self, body: dict[str, Any]) -> Any:
        """The answer, by path and by what is asked for."""
        if self.path == "/score":
            return {"scores": [self._scores(item) for item in body["items"]]}
        if self.path == "/v2/models/served/generate":
            return self._tensors(body)
        if self.path == "/api/generate":
            return {"response": "the capital is", "done": True, **self.ollama_counts(body, body["max_tokens"])}
        if self.path == "/generate" and "inputs" in body:
            return self._tgi(body)
        if self.path == "/generate" and isinstance(body["input_ids"][0], int):
            return self._from(body["input_ids"], body["logprob_start_len"], body["top_logprobs_num"])
        if self.path == "/generate":
            starts = zip(body["input_ids"], body["logprob_start_len"], strict=True)
            return [self._from(prompt, start) for prompt, start in starts]
        if self.path == "/completion":
            return self._forced(body)
        if self.path == "/tokenize":
            return {"tokens": [1]}
        return self._openai(body)

    def _openai(self, body: dict[str, Any]) -> dict[str, Any]:
        if "prompt_logprobs" in body:
            prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
            choices = [
                {"index": i, "text": " x", "prompt_logprobs": self._prompt(p, body["prompt_logprobs"])}
                for i, p in enumerate(prompts)
            ]
            return {"choices": choices[::-1]}
        if "logprob_token_ids" in body:
            return {"choices": [self._labels(body)]}
        if isinstance(body["prompt"][0], list):
            return {"choices": [{"index": i, "text": "x"} for i in range(len(body["prompt"]))]}
        choice = {"index": 0, "text": "the capital is", **(self._echo(body) if body.get("echo") else {})}
        if body.get("return_context_logits"):
            choice["context_logits"] = self._context_logits(body["prompt"])
        counts = {} if self.behaviour == "uncounted" else {"usage": self.usage(body, body["max_tokens"])}
        return {"choices": [choice], **counts}

    def _line(self, tokens: list[int]) -> list[float]:
        """Log-probability of every token after the first; "shifted" gives each that of the token before it."""
        values = [logprob(a, b) for a, b in zip(tokens, tokens[1:], strict=False)]
        if self.behaviour == "nan":
            return [math.nan] * len(values)
        return [-9.5, *values[:-1]] if self.behaviour == "shifted" else values

    def _scores(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        scores = []
        for tokens in item["continuations"]:
            line = [item["context"][-1], *tokens]
            greedy = [token == best(before, [token]) for before, token in zip(line, line[1:], strict=False)]
            document: dict[str, Any] = {"logprobs": self._line(line), "greedy": greedy}
            if item.get("whole"):
                rows = [[logprob(before, token) for token in range(VOCABULARY)] for before in line[:-1]]
                values = [value for row in rows for value in row]
                document["whole"] = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
            scores.append(document)
        return [] if self.behaviour == "ignored" else scores

    def _tensors(self, body: dict[str, Any]) -> dict[str, Any]:
        """KServe's generate extension with the tensors of our model repository."""
        if "items" in body:
            return {
                "model_name": "served",
                "scores": json.dumps([self._scores(item) for item in json.loads(body["items"])]),
            }
        if "text_input" in body:
            return {"model_name": "served", "text_output": "the capital is", **self.counts(body, body["max_tokens"])}
        return {"model_name": "served", "text": "the capital is", **self.usage(body, body["max_tokens"])}

    def counts(self, body: dict[str, Any], added: int) -> dict[str, Any]:
        """What Triton's vLLM backend tells of one response, where it is asked to."""
        if self.behaviour == "no-usage" or not body.get("return_num_output_tokens"):
            return {}
        return {"num_input_tokens": len(body["prompt"]), "num_output_tokens": added}

    def _tgi(self, body: dict[str, Any]) -> dict[str, Any]:
        """TGI's /generate: the prompt's tokens where they are asked for, and what it goes on with greedily."""
        prompt, tokens = body["prompt"], []
        for _ in range(body["max_tokens"]):
            tokens.append(best([*prompt, *tokens][-1]))
        entries = []
        if body["parameters"].get("decoder_input_details") and self.behaviour != "ignored":
            line = zip(prompt, [None, *self._line(prompt)], strict=True)
            entries = [{"id": token, "text": f"w{token}", "logprob": value} for token, value in line]
        made = [{"id": token, "text": f"w{token}", "logprob": -0.5, "special": False} for token in tokens]
        return {"generated_text": "the capital is", "details": {"prefill": entries, "tokens": made}}

    def ollama_counts(self, body: dict[str, Any], count: int) -> dict[str, int]:
        if self.behaviour == "no-usage":
            return {}
        return {"prompt_eval_count": len(body["prompt"]), "eval_count": count}

    def _from(self, prompt: list[int], start: int, count: int = 1) -> dict[str, Any]:
        """SGLang's /generate: from the token at `start` on, nothing said of that one itself."""
        if self.behaviour == "ignored":
            return {"meta_info": {"input_token_logprobs": [], "input_top_logprobs": []}}
        values = self._line(prompt)[start:]
        steps = zip(values, prompt[start:], prompt[start + 1 :], strict=False)
        entries = [(value, token, best(before, [token]), before) for value, before, token in steps]
        return {
            "meta_info": {
                "input_token_logprobs": [[None, prompt[start], None], *([v, t, None] for v, t, _, _ in entries)],
                "input_top_logprobs": [None, *(self._tops(b, count, top) for _, _, top, b in entries)],
            }
        }

    def _tops(self, before: int, count: int, likely: int) -> list[list[Any]]:
        tokens = [likely] if count == 1 else most_likely(before, count)
        return [[logprob(before, token), token, None] for token in tokens]

    def _prompt(self, prompt: list[int], count: int = 0) -> list[Any]:
        if self.behaviour == "ignored":
            return []
        entries: list[Any] = [None]
        for value, before, token in zip(self._line(prompt), prompt, prompt[1:], strict=False):
            rank = 1 if token == best(before, [token]) else VOCABULARY
            tops = enumerate(most_likely(before, count), 1)
            candidates = {str(other): {"logprob": logprob(before, other), "rank": place} for place, other in tops}
            entries.append({str(token): {"logprob": value, "rank": rank}} | candidates)
        return entries

    def _context_logits(self, prompt: list[int]) -> list[list[float]] | None:
        """One row for each token of the prompt."""
        if self.behaviour == "ignored":
            return None
        before = [prompt[0], *prompt[:-1]] if self.behaviour == "shifted" else prompt
        return [[logit(token, other) for other in range(VOCABULARY)] for token in before]

    def _echo(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.behaviour == "ignored":
            return {}
        prompt = body["prompt"]
        tops: list[dict[str, float] | None] = [None]
        for value, before, token in zip(self._line(prompt), prompt, prompt[1:], strict=False):
            likely = best(before, [token])
            tops.append({f"text {token}": value, f"text {likely}": logprob(before, likely)})
        line = [None, *self._line(prompt), -0.5]
        return {"logprobs": {"token_logprobs": line, "top_logprobs": [*tops, {"x": -0.5}]}}

    def _labels(self, body: dict[str, Any]) -> dict[str, Any]:
        before = body["prompt"][-1]
        asked = [] if self.behaviour == "ignored" else body["logprob_token_ids"]
        likely = best(before, asked)
        top = {f"token_id:{token}": logprob(before, token) for token in [*asked, likely]}
        return {"index": 0, "logprobs": {"tokens": [f"token_id:{likely}"], "top_logprobs": [top]}}

    def _forced(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt, (token, _) = body["prompt"], body["logit_bias"][0]
        before = prompt[-2] if self.behaviour == "shifted" and len(prompt) > 1 else prompt[-1]
        if self.behaviour == "ignored":
            token = (token + 1) % VOCABULARY
        if token == HALF:  # ends inside a character: kept back, and its log-probability with it
            return {"content": ""}
        likely = best(prompt[-1], [token])
        order = [likely, *(other for other in range(VOCABULARY) if other != likely)][: body["n_probs"]]
        top = [{"id": other, "logprob": logprob(prompt[-1], other)} for other in order]
        return {"completion_probabilities": [{"id": token, "logprob": logprob(before, token), "top_logprobs": top}]}

    def usage(self, body: dict[str, Any], count: int) -> dict[str, Any]:
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": count}
        known = {"prompt_tokens_details": {"cached_tokens": 4}} if self.behaviour == "cached" else {}
        return {**usage, **known}
