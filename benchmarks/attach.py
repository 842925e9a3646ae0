"""`python -m benchmarks.attach vllm sglang`: is `openai`, attached to another engine's server, as good as its dialect?

Starts each engine on the sample model, attaches `openai` to it, and compares the log-probabilities that both read.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

from engines.registry import engines_by_name
from engines.runtime.environments import build, resolve
from engines.runtime.server import attach, serve
from engines.telemetry.device import cpu
from engines.types import Attached, Serving
from evals.accuracy.gates import golden_prompt
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from flows.sources.model_facts import look_up_model
from flows.sources.models import Model, prepare_model

WINDOW_TOKENS = 514


def pairs() -> list[Pair]:
    """Contexts of 1, 30 and 200 random tokens, with continuations of 1, 2 and 9."""
    generator = random.Random(0)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(generator.choices(range(100, 40000), k=count))

    return [Pair(draw(context), draw(length)) for context in (1, 30, 200) for length in (1, 2, 9)]


def compare(name: str, model: Model) -> str:
    engine = engines_by_name()[name]
    environment = resolve(engine.environments["cpu"])
    build(environment, print)
    options = {option.name: option.default for option in engine.options}
    wanted = Serving(model.folder, cpu(), 2, WINDOW_TOKENS)
    with (
        tempfile.TemporaryDirectory() as place,
        serve(engine, environment, wanted, options, log=Path(place) / "log") as (native, _),
    ):
        os.environ["BITFRONTIER_ATTACH_KEY"] = native.api_key
        to = Attached(native.url, "BITFRONTIER_ATTACH_KEY", "served")
        attached = attach(engines_by_name()["openai"], to, model.folder, Path(place) / "attached.log")
        gate = golden_prompt(attached, model.reference, "float32")
        ours, theirs = score(attached, pairs()), score(native, pairs())
    worst = max(
        abs(a - b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x.logprobs, y.logprobs, strict=True)
    )
    same = sum(x.greedy == y.greedy for x, y in zip(ours, theirs, strict=True))
    return (
        f"{name}: {attached.facts['can']}\n  golden prompt: {gate.detail}\n"
        f"  against its own dialect: at most {worst:.1e} nats, most likely tokens agree in {same} of {len(ours)} pairs"
    )


def main() -> None:
    environment = resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment)
    for name in sys.argv[1:]:
        print(compare(name, model), flush=True)


if __name__ == "__main__":
    main()
