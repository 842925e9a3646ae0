"""About how many tokens the evaluations of a plan read and generate: for the forecast, not for any result."""

from __future__ import annotations

from dataclasses import dataclass

from evals.tasks.loaded_tasks import TaskSpec
from evals.tasks.task_index import TaskIndex
from flows.plan.schema import Plan


@dataclass(frozen=True)
class TaskSize:
    """Of one item: tokens with all of its answers, of one more example, of what is generated; `leaves` × `items`."""

    items: int
    tokens: int
    example_tokens: int
    leaves: int = 1
    generated_tokens: int = 0


# means over the whole sets, counted with SmolLM2's tokenizer; of gsm8k as lm-eval asks it
SIZES = {
    "mmlu": TaskSize(246, 110, 110, leaves=57),
    "hellaswag": TaskSize(10042, 310, 90),
    "arc_easy": TaskSize(2376, 125, 40),
    "arc_challenge": TaskSize(1172, 145, 45),
    "lambada_openai": TaskSize(5153, 90, 90),
    "wikitext": TaskSize(62, 4600, 0),
    "gsm8k": TaskSize(1319, 60, 160, generated_tokens=130),
}
UNKNOWN_TASK = TaskSize(1000, 150, 100)
WIKITEXT2_TOKENS = 300_000
ADAPTIVE_SHARE = 0.4  # of a quantized cell's items, as measured (evidence/accuracy-cpu-2026-11-21.json)


@dataclass(frozen=True)
class Scored:
    """Tokens that are read for log-probabilities, and tokens that are generated."""

    read: float
    generated: float


def scored_tokens(plan: Plan, tasks: tuple[TaskSpec, ...], known: TaskIndex, *, is_baseline: bool) -> Scored:
    """Of one cell."""
    share = ADAPTIVE_SHARE if plan.accuracy.budget == "adaptive" and not is_baseline else 1.0
    read = generated = 0.0
    for spec in tasks:
        size = SIZES.get(spec.name, UNKNOWN_TASK)
        items = share * size.leaves * min(spec.limit or size.items, size.items)
        examples = max(known.defaults(spec.name).num_fewshot) if spec.num_fewshot is None else spec.num_fewshot
        read += items * (size.tokens + size.example_tokens * examples)
        generated += items * size.generated_tokens
    for text in plan.perplexity:
        read += (text.max_tokens or WIKITEXT2_TOKENS) * text.window / text.stride
    for prompts in plan.kl_divergence:
        times = 2 if prompts.repeat and is_baseline else 1
        read += times * prompts.count * prompts.length
        generated += times * prompts.count * prompts.answer_tokens
    return Scored(read, generated)
