"""`python -m engines.launchers.deepspeed_server`: DeepSpeed-Inference behind our server, in the environment
`deepspeed`.
"""

from __future__ import annotations

from typing import Any

import deepspeed

from engines.launchers.transformers_server import read_arguments, run
from engines.reference_server.model_loading import load


def wrap(model: Any) -> tuple[Any, str]:
    """DeepSpeed's inference engine around `model`, and what it changed in it, in words."""
    before = {name: (type(module), id(module)) for name, module in model.named_modules()}
    engine = deepspeed.init_inference(model, dtype=model.dtype, replace_with_kernel_inject=False)
    after = {name: (type(module), id(module)) for name, module in engine.module.named_modules()}
    replaced = sorted({kind.__name__ for name, (kind, _) in after.items() if before.get(name) != after[name]})
    engine.device = model.device  # our loop asks a module for it
    if not replaced and before.keys() == after.keys():
        return engine, "torch linear: the plain module, DeepSpeed replaced none of its layers"
    return engine, "DeepSpeed's " + ", ".join(replaced)


def main() -> None:
    given = read_arguments(__doc__)
    model, facts = load(given.model, given.device, given.dtype)
    engine, kernel = wrap(model)
    run(given, engine, {**facts, "version": deepspeed.__version__, "kernel": kernel})


if __name__ == "__main__":
    main()
