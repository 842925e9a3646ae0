"""Tiny mixtures of experts and the tokens that reach them. Runs in the environment `llmcompressor`.

Prints one line of JSON: for each model what the program counts, what hooks on its routers count, and the warning.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import torch
import transformers

from quant.tools.llmcompressor import idle_experts, warn_of_idle_experts

BASE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "num_experts_per_tok": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = 32
MODELS = {
    "Mixtral": {"num_local_experts": EXPERTS},
    "Qwen2Moe": {"num_experts": EXPERTS, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    "Qwen3Moe": {"num_experts": EXPERTS, "moe_intermediate_size": 32},
    "Olmoe": {"num_experts": EXPERTS},
    "GptOss": {"num_local_experts": EXPERTS, "head_dim": 16},
    "DeepseekV3": {
        "n_routed_experts": EXPERTS,
        "moe_intermediate_size": 32,
        "n_group": 1,
        "topk_group": 1,
        "num_key_value_heads": 4,
        "first_k_dense_replace": 1,
    },
    "Llama": {},
}
ROWS = [[5, 6, 7], [8, 9, 10, 11]]


def by_hooks(model: Any) -> int:
    """Experts that none of the rows reaches, by the inputs of the routers: their weights are applied here."""
    reached: dict[str, set[int]] = {}

    def count(name: str, weight: Any, bias: Any) -> Any:
        def hook(_: Any, given: tuple[Any, ...]) -> None:
            logits = torch.nn.functional.linear(given[0].reshape(-1, weight.shape[1]), weight, bias)
            reached.setdefault(name, set()).update(logits.topk(2).indices.flatten().tolist())

        return hook

    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if name.endswith((".gate", ".router")) and weight is not None:
            module.register_forward_pre_hook(count(name, weight, getattr(module, "bias", None)))
    with torch.inference_mode():
        for row in ROWS:
            model(input_ids=torch.tensor([row]), use_cache=False)
    return sum(EXPERTS - len(experts) for experts in reached.values())


def main() -> None:
    torch.set_num_threads(1)
    results = {}
    for name, given in MODELS.items():
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**{**BASE, **given})
        model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_idle_experts(model, ROWS)
        words = [str(warning.message) for warning in caught if "experts get none" in str(warning.message)]
        results[name] = [*idle_experts(model, ROWS), by_hooks(model), words]
    print("results " + json.dumps(results))


if __name__ == "__main__":
    main()
