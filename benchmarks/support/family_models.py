"""Small models of the architectures that people use, with random weights. Runs in the environment `transformers`.

    python -m benchmarks.support.family_models --tokenizer FOLDER OUT [NAME …]

FOLDER is a model's folder whose tokenizer has 49,152 tokens. The weights are larger than a training starts with, so
that a wrong layer shows in log-probabilities; what a method costs in quality they do not show.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers

VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, POSITIONS, WINDOW = 49152, 128, 256, 2, 4, 2048, 64
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "initializer_range": 0.06,
    **IDS,
}
BASE = {**SMALL, "intermediate_size": INNER, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS}
OLD = {**SMALL, "intermediate_size": INNER, "max_position_embeddings": POSITIONS}
HALF = ["sliding_attention", "full_attention"]
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 128}
STATE = {"mamba_n_heads": 8, "mamba_d_head": 32, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_chunk_size": 32}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": HIDDEN,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": 1024,
    "initializer_range": 0.06,
    **IDS,
}
LATENT = {
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    **EXPERTS,
}
# the name of a family: its class, its configuration's class, what it is given
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", BASE | {"tie_word_embeddings": True}),
    "llama-untied": ("LlamaForCausalLM", "LlamaConfig", BASE | {"tie_word_embeddings": False}),
    "mistral": ("MistralForCausalLM", "MistralConfig", BASE | {"sliding_window": WINDOW}),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", BASE | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", BASE),
    "qwen2-moe": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        BASE | EXPERTS | {"num_experts": 4, "shared_expert_intermediate_size": 128},
    ),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", BASE | {"head_dim": 64}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", BASE | EXPERTS | {"num_experts": 4, "head_dim": 32}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", BASE | {"head_dim": 32}),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        BASE | {"head_dim": 32, "sliding_window": WINDOW, "query_pre_attn_scalar": 32, "layer_types": HALF},
    ),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        BASE | {"head_dim": 32, "sliding_window": WINDOW, "query_pre_attn_scalar": 32, "layer_types": HALF},
    ),
    "phi": ("PhiForCausalLM", "PhiConfig", OLD),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", BASE),
    "granite": ("GraniteForCausalLM", "GraniteConfig", BASE),
    "granite-moe": (
        "GraniteMoeForCausalLM",
        "GraniteMoeConfig",
        BASE | {"num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "olmo": ("OlmoForCausalLM", "OlmoConfig", BASE),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", BASE),
    "olmo3": ("Olmo3ForCausalLM", "Olmo3Config", BASE | {"sliding_window": WINDOW, "layer_types": HALF}),
    "olmoe": ("OlmoeForCausalLM", "OlmoeConfig", BASE | {"num_experts": 4, "num_experts_per_tok": 2}),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Config", BASE),
    "starcoder2": ("Starcoder2ForCausalLM", "Starcoder2Config", BASE),
    "stablelm": ("StableLmForCausalLM", "StableLmConfig", BASE),
    "cohere": ("CohereForCausalLM", "CohereConfig", BASE),
    "cohere2": ("Cohere2ForCausalLM", "Cohere2Config", BASE | {"sliding_window": WINDOW, "layer_types": HALF}),
    "exaone4": (
        "Exaone4ForCausalLM",
        "Exaone4Config",
        BASE | {"sliding_window": WINDOW, "sliding_window_pattern": 2, "layer_types": HALF},
    ),
    "glm4": ("Glm4ForCausalLM", "Glm4Config", BASE | {"head_dim": 32}),
    "nemotron": ("NemotronForCausalLM", "NemotronConfig", BASE),
    "gpt-oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        BASE
        | {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "head_dim": 32,
            "sliding_window": WINDOW,
            "layer_types": HALF,
        },
    ),
    "deepseek3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", BASE | LATENT | {"num_key_value_heads": 4}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", OLD | {"tie_word_embeddings": False}),
    "gpt-j": ("GPTJForCausalLM", "GPTJConfig", GPT2 | {"rotary_dim": 16}),
    "gpt-bigcode": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", GPT2),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        SMALL | {"ffn_dim": INNER, "max_position_embeddings": POSITIONS, "word_embed_proj_dim": HIDDEN},
    ),
    "bloom": (
        "BloomForCausalLM",
        "BloomConfig",
        {**IDS, "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "n_layer": LAYERS, "n_head": HEADS},
    ),
    "falcon": ("FalconForCausalLM", "FalconConfig", SMALL | {"alibi": False, "bias": False}),
    "mamba2": (
        "Mamba2ForCausalLM",
        "Mamba2Config",
        {
            **IDS,
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_heads": 8,
            "head_dim": 32,
            "n_groups": 1,
            "state_size": 16,
            "chunk_size": 32,
        },
    ),
    "falcon-h1": ("FalconH1ForCausalLM", "FalconH1Config", BASE | STATE | {"mamba_d_ssm": 256, "mamba_d_conv": 4}),
    "lfm2": ("Lfm2ForCausalLM", "Lfm2Config", BASE | {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3}),
    "gemma3-vision": (
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        {
            "text_config": BASE | {"head_dim": 32, "sliding_window": WINDOW, "query_pre_attn_scalar": 32},
            "vision_config": {
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 56,
                "patch_size": 14,
            },
            "mm_tokens_per_image": 4,
            **IDS,
        },
    ),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {
            "vocab_size": VOCABULARY,
            "d_model": HIDDEN,
            "d_kv": 32,
            "d_ff": INNER,
            "num_layers": LAYERS,
            "num_heads": HEADS,
            "decoder_start_token_id": 0,
            "pad_token_id": 2,
            "eos_token_id": 2,
        },
    ),
    "bert": ("BertForMaskedLM", "BertConfig", OLD),
    "classifier": ("Qwen3ForSequenceClassification", "Qwen3Config", BASE | {"head_dim": 32}),
}


def write_model(name: str, folder: Path, tokenizer: Path) -> int:
    """Save a model of a family with the tokenizer of another; returns its parameters."""
    model_class, config_class, given = FAMILIES[name]
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**given))
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if "norm" in part and part.endswith("weight"):  # no identity: a scale that is moved wrongly shows
                weight.add_(0.2 * torch.rand_like(weight))
    model.to(torch.float16).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tokenizer / file).exists():
            shutil.copy(tokenizer / file, folder / file)
    return sum(weight.numel() for weight in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("names", nargs="*", default=list(FAMILIES))
    given = parser.parse_args()
    failed = {}
    for name in given.names or FAMILIES:
        try:
            print(name, f"{write_model(name, given.out / name, given.tokenizer) / 1e6:.1f} M", flush=True)
        except Exception as error:  # of one family: the others are made
            failed[name] = f"{type(error).__name__}: {error}"[:300]
            shutil.rmtree(given.out / name, ignore_errors=True)
    print(json.dumps({"failed": failed}))


if __name__ == "__main__":
    main()
