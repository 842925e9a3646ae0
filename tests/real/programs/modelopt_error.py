"""Largest relative error of a layer's weights, dequantized from a ModelOpt FP8 checkpoint: SOURCE CHECKPOINT.

For the environment `modelopt`.
"""

import sys

import torch
from safetensors.torch import load_file

source, made = (load_file(f"{folder}/model.safetensors") for folder in sys.argv[1:])
errors = []
for name in made:
    if made[name].dtype == torch.float8_e4m3fn:
        weight = made[name].float() * made[name.replace(".weight", ".weight_scale")].float()
        errors.append(float((weight - source[name].float()).norm() / source[name].float().norm()))
print(len(errors), max(errors))
