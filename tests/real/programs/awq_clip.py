"""AutoAWQ's own search of clips against ours, on a layer of the size of a small model's. For the environment `autoawq`.

Prints how many clips differ, of how many.
"""

import types
import warnings

import torch
from awq.quantize.quantizer import AwqQuantizer

from quant.tools.autoawq import _best_clip

warnings.filterwarnings("ignore")
torch.manual_seed(0)
torch.set_num_threads(2)
quantizer = types.SimpleNamespace(group_size=64, zero_point=True, w_bit=4)
quantizer.pseudo_quantize_tensor = types.MethodType(AwqQuantizer.pseudo_quantize_tensor, quantizer)
weight = torch.randn(192, 576) * (1 + torch.rand(576))
activations = torch.randn(700, 576) * torch.rand(576) * 3
with torch.no_grad():
    plain = AwqQuantizer._compute_best_clip(quantizer, weight, activations)
    ours = _best_clip(quantizer, weight, activations)
print(int((plain != ours).sum()), ours.numel())
