"""Wrong loads, searches, workloads and traces."""

from __future__ import annotations

from tests.support.bad_plans.changes import Plan, Wrong, replay, search_with_slo, set_key


def race_at_a_rate(plan: Plan) -> None:
    sizes = {"requests": 400, "prompt_tokens": 8, "output_tokens": 4}
    search_with_slo({"over": "rate", "highest": 8, **sizes})(plan)
    plan["load"] = [{"rate_per_second": 2, **sizes}]
    plan["race"] = {}


LOADS: dict[str, Wrong] = {
    "negative concurrency": (
        set_key("load", 0, "concurrency", value=-1),
        "'load[0].concurrency' must be at least 1",
        "change the value",
    ),
    "a closed and an open load": (
        set_key("load", 0, "rate_per_second", value=2.0),
        "needs `concurrency` (a closed loop) or `rate_per_second` (an open one), not both",
        "change the value",
    ),
    "arrivals of a closed loop": (
        set_key("load", 0, "arrivals", value="poisson"),
        "`arrivals` and `arrival_cv` belong to a load with `rate_per_second`",
        "change the value",
    ),
    "bursts without gamma": (
        set_key(
            "load",
            0,
            value={"rate_per_second": 2, "arrival_cv": 2.0, "requests": 20, "prompt_tokens": 8, "output_tokens": 4},
        ),
        "`arrivals: gamma` and `arrival_cv` belong together",
        "change the value",
    ),
    "too few arrivals": (
        set_key("load", 0, value={"rate_per_second": 2, "requests": 4, "prompt_tokens": 8, "output_tokens": 4}),
        "requests (4) are too few for an open load (at least 10)",
        "change the value",
    ),
    "a search without limits": (
        set_key(
            "search",
            value=[{"over": "concurrency", "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}],
        ),
        "`search` looks for the load at which `slo` is just met; add `slo:` with its limits",
        "change the value",
    ),
    "a service without limits": (
        set_key("slo", value={"percentile": 90}),
        "an SLO needs `ttft_ms`, `tpot_ms` or a `preset`",
        "change the value",
    ),
    "an unknown preset": (
        set_key("slo", value={"preset": "gpt-9"}),
        "unknown preset 'gpt-9'; known: llama-3.1-8b, llama-3.1-8b-interactive",
        "change the value",
    ),
    "a search that begins above its end": (
        set_key(
            "search",
            value=[{"over": "rate", "lowest": 9, "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}],
        ),
        "lowest (9) is over highest (8)",
        "change the value",
    ),
    "half a user": (
        set_key(
            "search",
            value=[
                {
                    "over": "concurrency",
                    "lowest": 1.5,
                    "highest": 8,
                    "requests": 40,
                    "prompt_tokens": 8,
                    "output_tokens": 4,
                }
            ],
        ),
        "a concurrency is a whole number: `lowest` and `highest` must be",
        "change the value",
    ),
    "a search that cannot succeed": (
        search_with_slo({"over": "rate", "highest": 8, "requests": 20, "prompt_tokens": 8, "output_tokens": 4}),
        "cannot show that percentile 99 is within a limit: this needs 368 requests",
        "use `requests` of at least ",
    ),
    "an SLO that no load can be known to meet": (
        set_key("slo", value={"ttft_ms": 500}),
        "no load can show that percentile 99 is within a limit: this needs 368 requests, and the largest load has ",
        "in some load, or a lower `percentile`",
    ),
    "a search that does not fit": (
        search_with_slo({"over": "rate", "highest": 8, "requests": 400, "prompt_tokens": 8, "output_tokens": 400000}),
        "400008 tokens do not fit tiny, which has 4096 positions",
        "use at most 4096 together",
    ),
    "an unknown workload": (
        set_key("load", 0, value={"workload": "chatt", "concurrency": 1, "requests": 4}),
        "unknown workload 'chatt'; known: batch-1, batch-32",
        "change the value",
    ),
    "all of a prompt shared": (
        set_key(
            "load",
            0,
            value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "shared_prefix_tokens": 8},
        ),
        "shared_prefix_tokens (8) must be fewer than prompt_tokens",
        "change the value",
    ),
    "half a conversation": (
        set_key("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "turns": 4}),
        "requests (6) must be a multiple of turns (4)",
        "change the value",
    ),
    "conversations at a rate": (
        set_key(
            "load", 0, value={"rate_per_second": 1, "requests": 12, "prompt_tokens": 8, "output_tokens": 4, "turns": 4}
        ),
        "`turns` need `concurrency`, not `rate_per_second`: a turn waits for the previous answer",
        "change the value",
    ),
    "repeats until nothing": (
        set_key(
            "load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "max_repeats": 5}
        ),
        "`max_repeats` needs `target_relative_ci`",
        "change the value",
    ),
    "own prompts in turns": (
        set_key(
            "load",
            0,
            value={
                "concurrency": 1,
                "requests": 6,
                "prompt_tokens": 8,
                "output_tokens": 4,
                "turns": 2,
                "prompts": "mine.jsonl",
            },
        ),
        "`prompts` are sent as they are. Remove `turns` and `shared_prefix_tokens`",
        "change the value",
    ),
    "own prompts that are not there": (
        set_key(
            "load",
            0,
            value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "prompts": "mine.jsonl"},
        ),
        "mine.jsonl cannot be read",
        'give a JSONL file with a "prompt" on each line',
    ),
    "a trace that is not there": (
        replay("none.jsonl"),
        "none.jsonl: cannot be read",
        "give a JSONL trace of Mooncake's form or a CSV of Azure's",
    ),
    "a trace that is none": (
        replay("text.txt"),
        'text.txt:1: not a line of JSON with "timestamp"',
        "give a JSONL trace of Mooncake's form",
    ),
    "a trace that is not sorted": (
        replay("unsorted.jsonl"),
        "unsorted.jsonl:11: it is earlier than the request above",
        "give a JSONL trace",
    ),
    "a trace that is too short": (
        replay("short.jsonl"),
        "short.jsonl has 9 requests, fewer than 10",
        "give a longer trace",
    ),
    "a trace shorter than asked for": (
        replay("good.jsonl", requests=30),
        "good.jsonl has 20 requests, fewer than 30",
        "or `requests` of 20 at most",
    ),
    "a trace of one moment": (
        replay("at-once.jsonl"),
        "at-once.jsonl have the same time: they have no rate",
        "use more of its requests",
    ),
    "a trace over the model's positions": (
        replay("long.jsonl"),
        "long.jsonl:13: 5004 tokens do not fit tiny, which has 4096 positions",
        "use at most 4096 together",
    ),
    "a trace with token counts": (
        replay("good.jsonl", prompt_tokens=8, output_tokens=4),
        "`prompt_tokens`, `output_tokens` cannot be combined with `trace`, which sets arrivals and token counts",
        "change the value",
    ),
    "a trace in a closed loop": (
        replay("good.jsonl", concurrency=8),
        "load[0]: `concurrency` cannot be combined with `trace`",
        "change the value",
    ),
    "a trace of a workload": (
        replay("good.jsonl", workload="chat"),
        "`workload` cannot be combined with `trace`",
        "change the value",
    ),
    "the beginning of a key": (
        set_key("load", 0, "rate", value=2.0),
        "unknown key 'load[0].rate'",
        "did you mean 'rate_per_second'?",
    ),
    "a trace with an unknown key": (
        replay("good.jsonl", trace_speed=2),
        "unknown key 'load[0].trace_speed'",
        "did you mean 'trace_speedup'?",
    ),
    "a trace that stands still": (
        replay("good.jsonl", trace_speedup=0),
        "'load[0].trace_speedup' must be at least 0.001",
        "change the value of `trace_speedup`",
    ),
    "a trace's repeats until nothing": (
        replay("good.jsonl", max_repeats=5),
        "`max_repeats` needs `target_relative_ci`",
        "change the value",
    ),
    "a speed of no trace": (
        set_key("load", 0, "trace_speedup", value=2),
        "load[0]: `trace_speedup` belongs to a load with `trace`",
        "change the value",
    ),
    "a race that is on": (
        set_key("race", value=True),
        "'race' must have keys, but it is True",
        "write `race: {}` for its defaults",
    ),
    "a race of open loads and a search": (
        race_at_a_rate,
        "a `search` is made once, in a cell's first visit, and of open loads alone its capacity decides: a race would",
        "change the value",
    ),
    "fewer requests than concurrency": (
        set_key("load", 0, "concurrency", value=8),
        "requests (2) is less than concurrency (8)",
        "change the value",
    ),
    "one output token": (
        set_key("load", 0, "output_tokens", value=1),
        "output_tokens' must be at least 2",
        "change the value",
    ),
    "load over the model's positions": (
        set_key("load", 0, "prompt_tokens", value=5000),
        "do not fit tiny, which has 4096 positions",
        "use at most 4096",
    ),
}
