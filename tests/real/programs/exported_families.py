"""What optimum-intel exports with the Transformers beside it. Runs in the environment `openvino`; prints one line of JSON."""

from __future__ import annotations

import json
from importlib.metadata import version

import optimum.intel  # noqa: F401  first: its parts import each other in a circle
import transformers
from optimum.exporters.openvino import model_configs  # noqa: F401  registers them
from optimum.exporters.tasks import TasksManager
from packaging.version import Version
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TASK = "text-generation-with-past"


def main() -> None:
    own, exported = Version(transformers.__version__), set()
    for model_type, names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        known = TasksManager._SUPPORTED_MODEL_TYPE
        tasks = (known.get(model_type.replace("_", "-")) or known.get(model_type) or {}).get("openvino", {})
        if TASK not in tasks:
            continue
        oldest, newest = (getattr(tasks[TASK].func, f"{end}_TRANSFORMERS_VERSION", None) for end in ("MIN", "MAX"))
        if own >= Version(str(oldest or "0")) and own <= Version(str(newest or "999")):
            exported |= set(names if isinstance(names, tuple) else [names])
    versions = {"optimum-intel": version("optimum-intel"), "transformers": transformers.__version__}
    print("results " + json.dumps({"exported": sorted(exported), "versions": versions}))


if __name__ == "__main__":
    main()
