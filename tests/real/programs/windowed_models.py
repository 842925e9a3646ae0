"""Tiny models with random weights behind our server's scoring and generation, against plain Transformers.

Runs in the environment `transformers`; prints one line of JSON: for each model the largest difference of a
log-probability in nats and whether its generated tokens are the same.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from typing import Any

import torch
import transformers

from engines.reference_server.api_schema import Item
from engines.reference_server.decode import Running
from engines.reference_server.requests import Generation
from engines.reference_server.scoring import score

VOCABULARY, WINDOW = 512, 32
BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MIXED = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
CHUNKED = {"attention_chunk_size": WINDOW, "intermediate_size_mlp": 96, "no_rope_layers": [1, 0, 1]}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", {}),
    "Mistral": ("Mistral", {"sliding_window": WINDOW}),
    "Gemma 2": ("Gemma2", MIXED),
    "Gemma 3": ("Gemma3", MIXED),
    "GPT-OSS": ("GptOss", MIXED | EXPERTS),
    "Cohere 2": ("Cohere2", MIXED),
    "Llama 4": ("Llama4", CHUNKED | EXPERTS | {"num_experts_per_tok": 1}),
}


def build(name: str) -> Any:
    """The model called `name`, in float32."""
    family, given = MODELS[name]
    config = next(
        getattr(transformers, f"{family}{suffix}")
        for suffix in ("TextConfig", "Config")
        if hasattr(transformers, f"{family}{suffix}")
    )
    torch.manual_seed(0)
    return getattr(transformers, f"{family}ForCausalLM")(config(**{**BASE, **given})).eval()


def items(draw: Callable[[int], list[int]]) -> list[Item]:
    """Contexts that begin alike with rests of many lengths, alone ones of many lengths, and one of 300 tokens."""
    contexts = []
    for beginning in (draw(100), draw(70)):
        contexts += [beginning + draw(rest) for rest in (1, 2, 9, 40, 41, 90, 180)]
    contexts += [draw(length) for length in (1, 5, 31, 32, 33, 64, 130, 300)]
    return [Item(context, [draw(length) for length in (1, 1, 6, 45)]) for context in contexts]


@torch.inference_mode()  # type: ignore[untyped-decorator]
def plain(model: Any, context: list[int], continuation: list[int]) -> list[float]:
    """Log-probabilities of the continuation by one pass over one row without a cache."""
    ids = context + continuation
    logprobs = model(torch.tensor([ids]), use_cache=False).logits[0].float().log_softmax(-1)
    return [float(logprobs[place - 1, ids[place]]) for place in range(len(context), len(ids))]


def worst(model: Any, draw: Callable[[int], list[int]]) -> float:
    """The largest difference in nats over all items."""
    asked = items(draw)
    random.Random(2).shuffle(asked)
    return max(
        abs(ours - theirs)
        for item, results in zip(asked, score(model, asked), strict=True)
        for continuation, scored in zip(item.continuations, results, strict=True)
        for ours, theirs in zip(scored.logprobs, plain(model, item.context, continuation), strict=True)
    )


def generates_alike(model: Any, draw: Callable[[int], list[int]]) -> bool:
    """Requests of many lengths that join and leave the batch at different times, against each alone."""
    produced: list[list[int]] = []
    generations = []
    for length, count in ((3, 9), (120, 30), (40, 50), (70, 5), (200, 20), (33, 40)):
        tokens: list[int] = []
        produced.append(tokens)
        generations.append(
            Generation(draw(length), count, frozenset(), lambda token, _, into=tokens: into.append(token))
        )
    running = Running()
    for pair in (generations[:2], generations[2:4], generations[4:]):
        running.join(model, pair)
        for _ in range(4):
            running.step(model)
    while running.generations:
        running.step(model)
    return all(
        tokens == greedy(model, generation.prompt, len(tokens))
        for generation, tokens in zip(generations, produced, strict=True)
    )


@torch.inference_mode()  # type: ignore[untyped-decorator]
def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """The most likely tokens, each by a pass over the whole row without a cache."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[-count:]


def main() -> None:
    torch.set_num_threads(1)  # two threads would wait for each other longer than these layers take
    results = {}
    for name in sys.argv[1:] or MODELS:
        generator = random.Random(1)

        def draw(count: int, source: random.Random = generator) -> list[int]:
            return source.choices(range(3, VOCABULARY), k=count)

        model = build(name)
        results[name] = {"nats": worst(model, draw), "generates_alike": generates_alike(model, draw)}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
