"""Whether a folder holds what can be quantized and scored here: a language model that is whole and needs no code.

A pure function of the configuration and of what the weights' index names. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from quant.checkpoints.configuration import Configuration, architecture_of

LANGUAGE_MODELS = ("ForCausalLM", "LMHead")  # in the names of their classes
# of models that also read images, sound or video
OTHER_INPUTS = ("vision_config", "audio_config", "vision_cfg", "mm_vision_tower", "thinker_config")
HEAD = re.compile(r"(^|\.)(lm_head|embed_out|head|output|output_layer)\.")


def unsuitable(config: Configuration, index: Mapping[str, str], files: Collection[str]) -> str | None:
    """The reason why no method and no engine can use a model, with what to do; None for one that is suitable.

    Args:
        config: the content of `config.json`.
        index: the file of each tensor, by the tensor's name. Empty where the weights are not there yet.
        files: the names of the weights' files that are there.
    """
    name = architecture_of(config).name
    if code := config.get("auto_map"):
        named = str(next(iter(code.values())) if isinstance(code, Mapping) else code)
        return (
            f"it needs code of its own ({named}, named by auto_map), and code of a model's folder is never "
            "run. Where Transformers itself has this architecture, remove auto_map from config.json"
        )
    if config.get("is_encoder_decoder"):
        return f"{name or 'it'} is an encoder-decoder. Choose a decoder-only language model"
    if other := next((key for key in OTHER_INPUTS if config.get(key)), None):
        return (
            f"{name or 'it'} reads more than text ({other}), and calibration and scores here are of text alone. "
            "Save its language model by itself, as a model for causal language modelling"
        )
    if name and not any(word in name for word in LANGUAGE_MODELS):
        return f"{name} has no language-model head. Choose a model for causal language modelling (…ForCausalLM)"
    if missing := sorted(set(index.values()) - set(files)):
        return f"its index names {missing[0]}, which is not in the folder. Download the model again"
    if index and config.get("tie_word_embeddings") is False and not any(map(HEAD.search, index)):
        return (
            f"{name or 'it'} has no weights of a language-model head, and does not share its embedding's. "
            "Save the whole model, not its base"
        )
    return None
