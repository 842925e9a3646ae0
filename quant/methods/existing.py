"""Checkpoints that were quantized elsewhere: copied as they are, and told by their configuration what they are."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

from quant.checkpoints.detect import quantization_settings, read_config, recognise
from quant.checkpoints.safetensors import CheckpointError
from quant.registry import method
from quant.tools.tokenizer import copy_tokenizer
from quant.types import Scheme, Stored

# no pickle (*.bin but OpenVINO's, *.pt) and no code (*.py) is ever taken along
COPIED = (
    "hf_quant_config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "openvino_model.xml",
    "openvino_model.bin",
)
SHAPE = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")


def scheme(parameters: Any) -> Scheme:
    return recognise(Path(parameters["checkpoint"])).scheme


def checkpoint_format(parameters: Any) -> str:
    return recognise(Path(parameters["checkpoint"])).format


@method("existing", format=checkpoint_format, environment="transformers", scheme=scheme)
def existing(model: Path, out: Path, *, checkpoint: Annotated[str, Stored()]) -> None:
    """A checkpoint quantized elsewhere: a folder or `hub:organisation/name`, known by its configuration.

    Args:
        checkpoint: a folder, relative to the plan, or `hub:organisation/name`.
    """
    source = Path(checkpoint)
    for pattern in COPIED:
        for file in sorted(source.glob(pattern)):
            shutil.copyfile(file, out / file.name)
    for file in source.glob("*.gguf"):
        shutil.copyfile(file, out / "model.gguf")
    weights = [*out.glob("*.safetensors")]
    if len(weights) == 1:  # older tools named the file after the method, and readers look for this name
        weights[0].rename(out / "model.safetensors")
    if (source / "config.json").exists():
        config = read_config(source)
        _same_shape(source, config, read_config(model))
        settings = quantization_settings(source, config)
        merged = config | ({"quantization_config": settings} if settings else {})
        (out / "config.json").write_text(json.dumps(merged, indent=2) + "\n", encoding="utf-8")
    copy_tokenizer(model, out)


def _same_shape(source: Path, config: dict[str, Any], model: dict[str, Any]) -> None:
    for name in SHAPE:
        if name in model and config.get(name, model[name]) != model[name]:
            raise CheckpointError(
                f"{source} is not a checkpoint of this model: its {name} is {config[name]} (the model's: {model[name]})"
            )
