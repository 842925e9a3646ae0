"""The versions that decide whether a finished result is still valid, and the files that each of them covers.

A key holds these numbers, never bytes of files. Raise a number when results change: `scripts/check_versions.py`
compares the syntax trees of the covered files with the recorded ones, and fails where a number should have been raised.
Each method and engine has a `version` of its own in its decorator, which covers its file and the tools that it imports.
"""

from __future__ import annotations

MEASUREMENT_VERSION = 1
"""The load client: prompts, arrivals, seeds, warm-up, repeats, the search for the highest load, samples of memory."""
MEASUREMENT_COVERS = (
    "evals/load/*.py",
    "evals/api/formats.py",
    "evals/data/corpora.py",
    "evals/metrics/*.py",
    "evals/stats/intervals.py",
    "engines/telemetry/gpu.py",
    "engines/telemetry/process_memory.py",
    "engines/telemetry/sampler.py",
    "engines/kv_cache.py",
    "quant/checkpoints/shape.py",
    "engines/runtime/prometheus.py",
    "flows/execute/measure_cell.py",
    "flows/execute/served_parts.py",
    "flows/execute/visits.py",
)

SCORING_VERSION = 3
"""What is asked and how it becomes a score: tasks, items drawn, windows, conventions, texts, adaptive budgets."""
SCORING_COVERS = (
    "evals/accuracy/adaptive_budget.py",
    "evals/accuracy/answer_margin.py",
    "evals/accuracy/chat_template*.py",
    "evals/accuracy/contamination.py",
    "evals/accuracy/divergence.py",
    "evals/accuracy/lm_eval_*.py",
    "evals/accuracy/perplexity.py",
    "evals/data/*.py",
    "evals/tasks/*.py",
    "evals/stats/cluster_bootstrap.py",
    "evals/stats/group_sequential.py",
    "evals/stats/intervals.py",
    "evals/stats/multiple_testing.py",
    "evals/stats/paired_items.py",
    "evals/stats/paired_tests.py",
    "evals/stats/stratification.py",
    "evals/stats/stratified_estimators.py",
    "evals/stats/studentized_tail.py",
    "flows/execute/score_cell.py",
    "flows/execute/spec.py",
)

READER_VERSION = 1
"""How log-probabilities and answers are read from a server; also in the key of the kept answers."""
READER_COVERS = ("evals/scoring/*.py", "evals/api/*.py", "engines/shared_prefix.py")

CALIBRATION_VERSION = 2
"""What every method has in common: calibration rows, seeds, the worker and its environment, what is read back."""
CALIBRATION_COVERS = (
    "flows/sources/calibration.py",
    "flows/execute/quantize_checkpoint.py",
    "evals/data/sample_data.py",
    "evals/api/tokenizers.py",
    "quant/worker.py",
    "quant/types.py",
    "quant/no_remote_code.py",
    "quant/checkpoints/configuration.py",
    "quant/checkpoints/de*.py",
    "quant/checkpoints/gguf.py",
    "quant/checkpoints/inspect.py",
    "quant/checkpoints/model_files.py",
    "quant/checkpoints/safetensors.py",
    "quant/checkpoints/suitability.py",
    "quant/checkpoints/tool_limits.py",
)

GATES_VERSION = 1
"""What a checkpoint and its server must pass; raised, finished cells pass the gates again, and nothing else."""
GATES_COVERS = ("evals/accuracy/gates.py", "quant/checkpoints/source_grid.py", "quant/checkpoints/verify.py")

REFERENCE_VERSION = 5
"""What the unquantized model says in plain Transformers: the yardstick of the gates."""
REFERENCE_COVERS = ("quant/reference_outputs.py", "quant/reference_texts.py")

SERVER_VERSION = 1
"""How servers are started and what ours compute: the reference server, launchers, variables of child processes."""
SERVER_COVERS = (
    "engines/reference_server/*.py",
    "engines/launchers/*.py",
    "engines/runtime/child_environment.py",
    "engines/runtime/process.py",
    "engines/runtime/server.py",
    "engines/runtime/supervisor.py",
    "engines/shared_prefix.py",
    "engines/parallelism.py",
    "engines/types.py",
    "engines/user_arguments.py",
    "quant/no_remote_code.py",
)

COVERS = {
    "MEASUREMENT_VERSION": MEASUREMENT_COVERS,
    "SCORING_VERSION": SCORING_COVERS,
    "READER_VERSION": READER_COVERS,
    "CALIBRATION_VERSION": CALIBRATION_COVERS,
    "GATES_VERSION": GATES_COVERS,
    "REFERENCE_VERSION": REFERENCE_COVERS,
    "SERVER_VERSION": SERVER_COVERS,
}

MEASURING = ("quant/**/*.py", "engines/**/*.py", "evals/**/*.py", "flows/execute/*.py", "flows/sources/*.py")
"""Every module here is covered by a version, or decides no result."""
DECIDES_NO_RESULT = (
    "**/__init__.py",
    "quant/canonical_json.py",
    "quant/errors.py",
    "quant/foreign_failures.py",  # words of a row
    "quant/plugins.py",
    "quant/hashing.py",
    "quant/progress.py",
    "quant/registry.py",
    "engines/addresses.py",  # whether proxies are asked
    "engines/bounded_http.py",  # when an answer is given up
    "engines/batching.py",  # a warning
    "engines/redaction.py",  # what no key is in
    "engines/option_labels.py",
    "engines/registry.py",
    "engines/runtime/cache.py",
    "engines/runtime/own_packages.py",  # which files children import: what they do is covered
    "engines/runtime/entry_points.py",  # names of modules
    "engines/runtime/environments.py",  # an environment's identity is in the keys
    "engines/runtime/identities.py",
    "engines/runtime/installing/bytecode.py",
    "engines/runtime/installing/pip_config.py",
    "engines/runtime/installing/pythons.py",
    "engines/telemetry/bandwidth_cpu.py",  # a fact beside the measurement
    "engines/telemetry/bandwidth_cuda.py",
    "engines/telemetry/device.py",
    "engines/telemetry/disturbance.py",
    "engines/telemetry/device_figures.py",  # the forecast's
    "engines/telemetry/host.py",
    "engines/telemetry/kernel_log.py",
    "engines/telemetry/machine.py",  # in the keys itself
    "engines/telemetry/memory_bandwidth.py",
    "evals/accuracy/published_perplexity.py",  # the report's
    "evals/schema/*.py",  # how results are written, with a version of its own
    "evals/rounds/*.py",  # which cells are visited again, and the report's
    "evals/stats/combined_intervals.py",  # the report's
    "evals/stats/passages.py",
    "evals/stats/skewed_mean.py",
    "flows/execute/keys.py",
    "flows/execute/manifest.py",
    "flows/execute/prepare.py",
    "flows/execute/prepared.py",
    "flows/cli/retry.py",
    "flows/execute/rows.py",
    "flows/execute/worker_process.py",
    "flows/sources/checkpoints.py",  # models, data and checkpoints are known by their contents
    "flows/sources/datasets.py",
    "flows/sources/hub.py",
    "flows/sources/model_facts.py",
    "flows/sources/model_names.py",
    "flows/sources/models.py",
    "flows/sources/references.py",
    "flows/sources/samples.py",
    "flows/sources/wheels.py",  # what it fetches is known by its hash
)
