"""What the unquantized model says in plain Transformers and float32: the yardstick of the gates.

`python -m quant.reference_outputs MODEL OUT.json` runs in the environment `transformers`.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quant.canonical_json import write_json
from quant.checkpoints.model_files import stage
from quant.errors import BitfrontierError
from quant.no_remote_code import forbid_remote_code
from quant.reference_texts import GOLDEN_TEXT, SANITY_TEXT

GREEDY_TOKENS = 16
LONG_TOKENS = 4  # scored after each long context: some engines need a request for each
LONG_CUTS = (40, LONG_TOKENS)  # tokens before the end of the sanity text where the two contexts end that begin alike


class NotTheWholeModel(BitfrontierError):
    """The weights are not those of the model that the configuration names."""


def check_loading(report: Mapping[str, Iterable[Any]]) -> None:
    """Whether all of a model came from its files and all of its files went into it, as Transformers reports of loading.

    Raises NotTheWholeModel: what is missing was drawn at random.
    """
    if missing := sorted(map(str, [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())])):
        raise NotTheWholeModel(f"{len(missing)} weights are missing and would be random: {', '.join(missing[:3])}")
    if unexpected := sorted(map(str, report.get("unexpected_keys", ()))):
        raise NotTheWholeModel(f"{len(unexpected)} weights have no place in the model: {', '.join(unexpected[:3])}")


def token_logprobs(model: Any, ids: list[int]) -> list[float]:
    """Natural-log probability of each token after the first, given all tokens before it."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].float()
    logprobs = logits[:-1].log_softmax(-1)
    return [float(logprobs[position, token]) for position, token in enumerate(ids[1:])]


def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """The `count` most likely next tokens, one by one."""
    import torch

    ids = list(ids)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-count:]


def long_items(model: Any, ids: list[int], added: int = 0) -> list[dict[str, list[int] | list[float]]]:
    """Two contexts that begin alike and end at different places, so that a server may share what it computes of them,
    and a long one that shares nothing but the `added` first ids, which the tokenizer puts before each text; each with
    the tokens that follow it in the text and their log-probabilities.
    """
    ends = [len(ids) - cut for cut in LONG_CUTS]
    pairs = [(ids[:end], ids[end : end + LONG_TOKENS]) for end in ends]
    pairs.append((ids[:added] + ids[added + 1 : ends[-1]], ids[ends[-1] :]))
    return [
        {"context": context, "continuation": rest, "logprobs": token_logprobs(model, context + rest)[-len(rest) :]}
        for context, rest in pairs
    ]


def rounding_nats(folder: Path, reference: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """How far rounding alone moves the golden log-probabilities: the largest difference from float32, in nats.

    `stored`: weights rounded to the type, arithmetic in float32; 0 where the source's weights already are of that type.
    `computed`: all in the type, by plain Transformers; of bfloat16 alone, which is coarser than any fixed limit allows.
    """
    import torch

    rounded = {}
    for dtype in ("float16", "bfloat16"):
        model = _load(folder, "float32")  # anew: what float16 cannot hold, bfloat16 may
        for weight in model.parameters():
            weight.data.copy_(weight.data.to(getattr(torch, dtype)))  # in place: memory is what small machines lack
        rounded[dtype] = {"stored": _largest_difference(model, reference)}
        del model
    rounded["bfloat16"]["computed"] = _largest_difference(_load(folder, "bfloat16"), reference)
    return rounded


def _largest_difference(model: Any, reference: Mapping[str, Any]) -> float:
    """0 where the model's answers are no numbers: what a type cannot hold excuses nothing."""
    pairs = [(token_logprobs(model, reference["golden_ids"]), reference["golden_logprobs"])]
    for item in reference["long_items"]:
        logprobs = token_logprobs(model, item["context"] + item["continuation"])
        pairs.append((logprobs[-len(item["logprobs"]) :], item["logprobs"]))
    differences = [abs(value - exact) for values, wanted in pairs for value, exact in zip(values, wanted, strict=True)]
    return max(differences) if all(map(math.isfinite, differences)) else 0.0


def main() -> None:
    out = Path(sys.argv[2])
    forbid_remote_code()
    with tempfile.TemporaryDirectory() as place:
        reference = _reference(stage(Path(sys.argv[1]), Path(place) / "model"))
    write_json(out, reference)
    print(json.dumps({name: reference[name] for name in ("golden_ids", "golden_logprobs")}))


def _reference(folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    model = _load(folder, "float32")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    golden, sanity = tokenizer.encode(GOLDEN_TEXT).ids, tokenizer.encode(SANITY_TEXT).ids
    reference = {
        "golden_ids": golden,
        "golden_logprobs": token_logprobs(model, golden),
        "sanity_ids": sanity,
        "sanity_logprobs": token_logprobs(model, sanity),
        "long_items": long_items(model, sanity, len(tokenizer.encode("").ids)),
        "greedy_ids": greedy(model, golden, GREEDY_TOKENS),
    }
    del model
    return {**reference, "rounding_nats": rounding_nats(folder, reference)}


def _load(folder: Path, dtype: str) -> Any:
    """Raises NotTheWholeModel."""
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    check_loading(loading)
    return model.eval()


if __name__ == "__main__":
    main()
