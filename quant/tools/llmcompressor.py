"""What the llm-compressor methods share: load in float32, apply modifiers, save in float16.

Imported by method files at call time only: everything here needs the environment `llmcompressor`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quant.errors import BitfrontierError
from quant.progress import report
from quant.tools.tokenizer import copy_tokenizer
from quant.types import CALIBRATION_WARNING, Calibration

TRANSFORMS = "llmcompressor.modifiers.transform."
NO_MAPPING = ("resolving mappings", "Found a final incomplete set")  # the tool's own words, version 0.14
# the head, and what decides which experts compute: a rounded router sends tokens elsewhere
LEFT_ALONE = ["lm_head", r"re:.*shared_expert_gate$", r"re:.*(mlp|moe)\.gate$", r"re:.*\.router(\..*)?$"]
CHECKED_TOKENS = 256
# Of the largest logit. In float32, one that cancels out leaves 1e-6; Gemma 3 with the default mapping is off by 1.
LOGIT_TOLERANCE = 1e-3


class TransformFailed(BitfrontierError):
    """A transform before rounding that changed what the model computes, or that changed nothing."""


def load_source(model: Path) -> Any:
    """The unquantized model in float32, from safetensors, without remote code."""
    from transformers import AutoModelForCausalLM

    report("load", 0, 1)
    loaded = AutoModelForCausalLM.from_pretrained(
        model, dtype="float32", use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    report("load", 1, 1)
    return loaded.eval()


def compress(model: Path, out: Path, modifiers: Sequence[Any], calibration: Calibration | None) -> None:
    """Run `modifiers` on `model` and write a compressed-tensors checkpoint to `out`.

    Calibration rows are used in their order, unshuffled: the tool's own shuffle has no seed. Raises TransformFailed.
    """
    import numpy as np
    import torch
    from compressed_tensors.offload import remove_dispatch
    from llmcompressor import oneshot

    _prepare_for_cpu()
    _report_layers()
    loaded = load_source(model)
    arguments: dict[str, Any] = {}
    if calibration is not None:
        warn_of_idle_experts(loaded, np.load(calibration.token_ids, allow_pickle=False).tolist())
        arguments = {
            "dataset": _dataset(calibration),
            "num_calibration_samples": calibration.samples,
            "max_seq_length": calibration.length,
            "shuffle_calibration_samples": False,
        }
    transforms = " and ".join(
        type(modifier).__name__ for modifier in modifiers if type(modifier).__module__.startswith(TRANSFORMS)
    )
    before = Untransformed(loaded, calibration) if transforms and calibration else None
    try:
        oneshot(model=loaded, recipe=list(modifiers), log_dir=None, **arguments)
    except (RuntimeError, ValueError) as error:
        if transforms and any(words in str(error) for words in NO_MAPPING):
            raise TransformFailed(f"{transforms} has no mapping for {type(loaded).__name__}: {error}") from error
        raise
    remove_dispatch(loaded)  # with a GPU, reading a weight gives a copy there: casting would change the copy
    if before is not None:
        before.check(loaded, transforms)
    report("save", 0, 1)
    loaded.to(torch.float16)
    loaded.save_pretrained(out, save_compressed=True)
    (out / "recipe.yaml").unlink(missing_ok=True)  # holds Python tags, which no reader should ever follow
    # llm-compressor copies the source's config.json; what is not quantized was saved in float16
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    (out / "config.json").write_text(json.dumps({**config, "dtype": "float16"}, indent=2) + "\n", encoding="utf-8")
    copy_tokenizer(model, out)
    report("save", 1, 1)


def warn_of_idle_experts(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """Warn where the router sends no calibration token to some experts: what calibration finds for them is from tokens
    that they will not see, or from none. Nothing is said of models whose class gives no router logits.

    Args:
        model: of Transformers.
        rows: token ids of each calibration sample.
    """
    idle, experts = idle_experts(model, rows)
    if idle:
        tokens = sum(map(len, rows))
        message = f"{idle} of {experts} experts get none of the {tokens:,} tokens"
        warnings.warn(f"{CALIBRATION_WARNING}{message}; use more samples (`calibration.samples`)", stacklevel=2)


def idle_experts(model: Any, rows: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many experts of all layers get no token, and how many there are; (0, 0) where the class does not tell."""
    import torch

    chosen = getattr(model.config, "num_experts_per_tok", None)
    if not chosen:
        return 0, 0
    reached: dict[int, Any] = {}
    for row in rows:
        ids = torch.tensor([list(row)], device=model.device)
        with torch.inference_mode():
            logits = getattr(model(input_ids=ids, use_cache=False, output_router_logits=True), "router_logits", None)
        for layer, of_tokens in enumerate(logits or ()):  # tokens x experts
            hits = torch.bincount(of_tokens.topk(chosen).indices.flatten().cpu(), minlength=of_tokens.shape[-1])
            reached[layer] = reached.get(layer, 0) + hits
    return sum(int((hits == 0).sum()) for hits in reached.values()), sum(map(len, reached.values()))


class Untransformed:
    """What a model computed, and sums of its weights, before it was transformed.

    Rounding leaves the float weights of a layer in place until they are saved, so that the transformed model without
    rounding is the same one with quantization switched off.
    """

    def __init__(self, model: Any, calibration: Calibration) -> None:
        import numpy as np

        row = np.load(calibration.token_ids, allow_pickle=False)[0][:CHECKED_TOKENS]
        self._ids = [int(token) for token in row]
        self._logits, self._sums = _logits(model, self._ids), _sums(model)

    def check(self, model: Any, transforms: str) -> None:
        """Raises TransformFailed unless weights changed and logits did not."""
        name = type(model).__name__
        sums = _sums(model)
        if all(sums[weight] == value for weight, value in self._sums.items() if weight in sums):
            raise TransformFailed(
                f"{transforms} changed no weight of {name}: the tool's mappings match none of its layers, so the "
                "result would equal rtn. Use rtn or gptq for this model."
            )
        off = float((_logits(model, self._ids) - self._logits).abs().max() / self._logits.abs().max())
        if not off <= LOGIT_TOLERANCE:
            raise TransformFailed(
                f"{transforms} does not preserve {name}: before rounding, logits differ by {off:.1e} of the largest "
                f"(allowed {LOGIT_TOLERANCE:g}). The tool's mappings are wrong for this model; use rtn or gptq."
            )


def _logits(model: Any, ids: list[int]) -> Any:
    """Logits at each of the tokens in float32, without rounding."""
    import torch
    from compressed_tensors.quantization import disable_quantization, enable_quantization

    model.apply(disable_quantization)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0].float().cpu()
    model.apply(enable_quantization)
    return logits


def _sums(model: Any) -> dict[str, float]:
    """Of each parameter the sum of its magnitudes: a change of scale always shows in it."""
    return {name: float(weight.detach().double().abs().sum()) for name, weight in model.named_parameters()}


def _dataset(calibration: Calibration) -> Any:
    import numpy as np
    from datasets import Dataset

    ids = np.load(calibration.token_ids, allow_pickle=False).tolist()
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]})


def _prepare_for_cpu() -> None:
    """Pinning memory needs an accelerator; without one llm-compressor 0.14 fails instead of going on."""
    import torch
    from llmcompressor.pipelines import cache

    if not torch.accelerator.is_available() and hasattr(cache.IntermediatesCache, "pin_memory"):
        cache.IntermediatesCache.pin_memory = lambda self, *args, **kwargs: None


def _report_layers() -> None:
    """Report each finished layer: the sequential pipeline traces its subgraphs once and ends an epoch for each."""
    import llmcompressor.pipelines.sequential.pipeline as pipeline

    trace, callbacks = pipeline.trace_subgraphs, pipeline.LifecycleCallbacks
    state = {"layers": 0, "done": 0}

    def traced(*args: Any, **kwargs: Any) -> Any:
        subgraphs = trace(*args, **kwargs)
        state.update(layers=len(subgraphs), done=0)
        report("calibrate layers", 0, len(subgraphs))
        return subgraphs

    class Reported(callbacks):  # type: ignore[misc, valid-type]
        @classmethod
        def sequential_epoch_end(cls, *args: Any, **kwargs: Any) -> Any:
            result = callbacks.sequential_epoch_end(*args, **kwargs)
            state["done"] += 1
            report("calibrate layers", state["done"], state["layers"])
            return result

    pipeline.trace_subgraphs, pipeline.LifecycleCallbacks = traced, Reported


def weights_in_groups(bits: int, group_size: int, *, symmetric: bool) -> Any:
    """W{bits}A16 on all linear layers but the head; group_size 0 means one scale per output channel."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, QuantizationStrategy

    weights = QuantizationArgs(
        num_bits=bits,
        symmetric=symmetric,
        strategy=QuantizationStrategy.GROUP if group_size else QuantizationStrategy.CHANNEL,
        group_size=group_size or None,
    )
    return QuantizationScheme(targets=["Linear"], weights=weights)
