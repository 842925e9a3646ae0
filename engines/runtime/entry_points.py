"""Modules that are started as `python -m`.

One place, so that a module that moves is renamed here and nowhere else. `tests/engines/runtime/test_entry_points.py`
holds that each exists.
"""

from __future__ import annotations

# in the environment of a method
QUANT_WORKER = "quant.worker"
# in the environment `transformers`
DEQUANTIZE_GGUF = "quant.checkpoints.dequantize_gguf"
REFERENCE_OUTPUTS = "quant.reference_outputs"
# in the environment of an engine
TRANSFORMERS_SERVER = "engines.launchers.transformers_server"
DEEPSPEED_SERVER = "engines.launchers.deepspeed_server"
OPENVINO_SERVER = "engines.launchers.openvino_server"
LLAMA_CPP_SERVER = "engines.launchers.llama_cpp_server"
SGLANG_SERVER = "engines.launchers.sglang_server"
TRITON_SERVER = "engines.launchers.triton_server"
# in the orchestrator's own
SUPERVISOR = "engines.runtime.supervisor"
SAMPLER = "engines.telemetry.sampler"
CHAT_TEMPLATE_PROCESS = "evals.accuracy.chat_template_process"
WORKER_PROCESS = "flows.execute.worker_process"
RENDER_PLOTS = "reports.output.render_plots"
