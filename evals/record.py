"""What one cell's measurement is on disk: a `Trial` with its raw samples, one JSON file.

Reports recompute every statistic from the raw samples here, so a metric added later works on old runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engines.parallel import devices
from quant.spec import FLOATS

TRIAL_SCHEMA_VERSION = 2
Status = Literal["ok", "failed", "unsupported"]
Arrivals = Literal["closed", "constant", "poisson", "gamma", "trace"]


@dataclass(frozen=True)
class Request:
    """One streamed completion. Times are seconds on the client's monotonic clock, counted from the load's start.

    `chunks` are (arrival, output tokens so far) of each chunk that brought tokens. `error` is None for a good one.
    `cached_tokens` of the prompt came from a prefix cache, where the server tells.
    `due_seconds` is when an open load meant to send it (None in a closed loop): from there a user's waiting is counted.
    """

    sent_seconds: float
    chunks: tuple[tuple[float, int], ...]
    end_seconds: float
    prompt_tokens: int
    output_tokens: int
    error: str | None = None
    due_seconds: float | None = None
    cached_tokens: int | None = None

    @property
    def start_seconds(self) -> float:
        """From where latencies count: a server that stalls delays what is sent later, and must not hide it (Tene, How
        not to measure latency, 2013: coordinated omission).
        """
        return self.sent_seconds if self.due_seconds is None else self.due_seconds

    @property
    def ttft_seconds(self) -> float:
        """Time to the first token: its arrival − start."""
        return self.chunks[0][0] - self.start_seconds

    @property
    def tpot_seconds(self) -> float | None:
        """Time per output token after the first chunk: (end − its arrival) ÷ (output tokens − those of that chunk).

        With one token in it this is MLPerf's. None where all of the answer came at once: no token came after.
        """
        first_at, first_tokens = self.chunks[0]
        later = self.output_tokens - first_tokens
        return (self.end_seconds - first_at) / later if later > 0 else None


@dataclass(frozen=True)
class LoadPoint:
    """`requests` requests with exact token counts.

    `workload` names where they are from. The first `shared_tokens` of every prompt are the same in all requests and
    repeats, as a system prompt is. With more than one of `turns`, a request is one turn of a conversation, and its
    prompt holds all before it; `prompt_tokens` are the first turn's. `prompts` names the file of the user's own, of
    which `prompt_tokens` is the most.

    With a `spread`, it is repeated, at most `most_repeats` times, until the half-width of the interval of its output
    rate is at most that share of it.

    A closed loop keeps `concurrency` of them in flight. An open load (`concurrency` is None) sends them at
    `rate_per_second` whatever the server does, with gaps that are `arrivals` ("constant", "poisson", or "gamma" with a
    coefficient of variation of `gap_variation`; 1 is poisson).

    `trace` names a file of recorded arrivals and token counts, replayed `trace_speedup` times as fast ("trace"
    arrivals): then the rate is its mean, the token counts are those of its longest prompt and of its longest answer,
    and `trace_known_share` of its prompts' tokens began as an earlier prompt did.
    """

    concurrency: int | None
    requests: int
    prompt_tokens: int
    output_tokens: int
    rate_per_second: float | None = None
    arrivals: Arrivals = "closed"
    gap_variation: float = 1.0
    workload: str = ""
    shared_tokens: int = 0
    turns: int = 1
    prompts: str = ""
    spread: float | None = None
    most_repeats: int = 0
    trace: str = ""
    trace_speedup: float = 1.0
    trace_known_share: float = 0.0

    @property
    def source(self) -> str:
        """The workload, or the file of the user's own prompts or of a trace; empty for drawn prompts of the plan's own
        counts.
        """
        return self.workload or self.prompts or self.trace

    @property
    def label(self) -> str:
        name = f"{self.source}: " if self.source else ""
        if self.concurrency is not None:
            return f"{name}concurrency {self.concurrency}"
        if self.trace:
            speed = f" at {self.trace_speedup:g} × its speed" if self.trace_speedup != 1 else ""
            return f"{name}replayed{speed}, {self.rate_per_second:.3g} requests/s"
        return f"{name}{self.rate_per_second:g} requests/s, {self.arrivals}"

    @property
    def sizes(self) -> str:
        """Prompt and output tokens in words."""
        prompt, output = "≤ " * bool(self.prompts or self.trace), "≤ " * bool(self.trace)
        return f"{prompt}{self.prompt_tokens} / {output}{self.output_tokens}"

    @property
    def longest_tokens(self) -> int:
        """Prompt and answer of the last turn; of a trace, no request is longer."""
        return self.shared_tokens + self.turns * (self.prompt_tokens - self.shared_tokens + self.output_tokens)

    @property
    def known_share(self) -> float:
        """Of the prompts' tokens, those that a prefix cache may know from other requests of this load: what is shared,
        and of a later turn the prompt before it, but not the drawn ids in place of the answer.
        """
        if self.trace:
            return self.trace_known_share
        step = self.prompt_tokens - self.shared_tokens + self.output_tokens
        asked = [self.prompt_tokens + turn * step for turn in range(self.turns)]
        return (self.shared_tokens + sum(asked[:-1])) / sum(asked)


@dataclass(frozen=True)
class ClientLoad:
    """What the load client saw of itself in one repeat.

    `cpu_seconds` of its process in `seconds` of load; `lags_seconds`: by how much its event loop woke late, the median,
    99th percentile and maximum. Every arrival may have been noted that late. `origin_seconds`: from where the requests'
    times count, on the machine's monotonic clock.
    """

    seconds: float
    cpu_seconds: float
    lags_seconds: tuple[float, float, float]
    origin_seconds: float | None = None


@dataclass(frozen=True)
class GpuSamples:
    """What one GPU told during one repeat: columns of one length, `seconds` from the load's start as its requests'.

    `watts` drawn, the clock of its processors (SM), its temperature, NVML's bits of `reasons` for that clock, and its
    counter of `joules`. An entry that the GPU does not tell is None.
    """

    gpu: int
    seconds: tuple[float, ...]
    watts: tuple[float | None, ...]
    sm_megahertz: tuple[float | None, ...]
    celsius: tuple[float | None, ...]
    reasons: tuple[int | None, ...]
    joules: tuple[float | None, ...]


@dataclass(frozen=True)
class Speed:
    """One load point: of every repeat the raw requests, what the client saw of itself, and what the server's GPUs told
    (`gpus` is empty without any, and where it is not known which the server used).
    """

    load: LoadPoint
    repeats: tuple[tuple[Request, ...], ...]
    clients: tuple[ClientLoad, ...] = ()
    gpus: tuple[tuple[GpuSamples, ...], ...] = ()


@dataclass(frozen=True)
class ServiceLimits:
    """What users may be made to wait: TTFT and TPOT, each at this percentile of the requests at most so many seconds
    (None: however long).
    """

    ttft_seconds: float | None
    tpot_seconds: float | None
    percentile: float


@dataclass(frozen=True)
class SearchRange:
    """Where the highest load is looked for: a concurrency of closed loops or a rate (requests/s) of Poisson arrivals,
    at least `requests` of these token counts at each.
    """

    over: Literal["concurrency", "rate"]
    lowest: float
    highest: float
    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Search:
    """The loads that were tried, in that order, to find the highest one within the limits."""

    within: SearchRange
    limits: ServiceLimits
    probes: tuple[Speed, ...]


PSS = "PSS of the server's process tree"
NVML = "NVML, bytes of the server's processes"
SET_ASIDE = "set aside at start"
IN_USE = "highest in use during the load"


@dataclass(frozen=True)
class Memory:
    """Bytes, each from a named source; None where nothing tells.

    `weights_bytes` and `kv_cache_bytes` as the engine reports them (`kv_source` is IN_USE or SET_ASIDE),
    `kv_bytes_per_token` as `kv_token_source` says. `loaded_bytes` and `peak_bytes` are measured from outside (`source`
    is PSS on a CPU, NVML on a GPU): after loading, and the highest while the load ran. `samples` are (seconds since the
    first one, bytes), of long loads the highest of each span.
    """

    source: str
    loaded_bytes: int
    peak_bytes: int
    weights_bytes: int | None
    kv_cache_bytes: int | None
    kv_source: str | None
    kv_bytes_per_token: float | None = None
    kv_token_source: str | None = None
    samples: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Score:
    """One leaf task. Per item: its key, the value of each metric, and log-likelihoods where there are any.

    `metrics` names the metrics in the order of an item's `values`; `item_keys` are lm-eval's hashes of document and
    prompt, by which two trials are joined. `ranks` are the items' places in the random order in which their task's
    items are drawn, counted over all leaves of the task; `drawn` is how many items of this leaf the plan asks for: more
    than there are here where an adaptive budget stopped. `clusters` names the passage that an item shares with others;
    it is empty where it has none. `empty_contexts`
    counts items that ask about nothing. `leads` are how far the best answer was ahead of the next one (`evals.leads`);
    empty where that is not known. `texts` are, of unquantized cells and of the items of least rank, the end of what is
    asked and every answer; empty for others.
    """

    task: str
    group: str
    shots: int
    metrics: tuple[str, ...]
    item_keys: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    loglikelihoods: tuple[tuple[float, ...], ...]
    ranks: tuple[int, ...] = ()
    drawn: int = 0
    clusters: tuple[str, ...] = ()
    empty_contexts: int = 0
    leads: tuple[float, ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Perplexity:
    """WikiText-2 in one named convention: of each window, the natural-log probabilities of the tokens it scores.

    `max_tokens` is where the text was cut; None for the whole.
    """

    convention: str
    text_sha256: str
    window_tokens: int
    stride_tokens: int
    tokens: tuple[tuple[float, ...], ...]
    max_tokens: int | None = None


@dataclass(frozen=True)
class Closeness:
    """What is predicted at the last tokens of some prompts, to be held against another checkpoint's.

    Per prompt: `logprobs` of its last tokens (nats) and `greedy`, the text of a greedy answer. `top_tokens` is how many
    of the most likely tokens are told at each position, −1 for the whole vocabulary, 0 for none; they are in `file`,
    beside the trial: `logprobs` of (positions, tokens), with `ids` of the same shape where it is not the whole.
    `repeat` is True for a second reading in another run, one prompt at a time: what differs there is noise.
    """

    text: str
    text_sha256: str
    logprobs: tuple[tuple[float, ...], ...]
    greedy: tuple[str, ...]
    top_tokens: int
    file: str | None
    repeat: bool = False


@dataclass(frozen=True)
class Gate:
    """A check before measuring: what was compared, and by how much it differed at most."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Failure:
    """Why a cell failed: the kind (see `evals.failures`), the cause in a line, what to do about it, the last lines of
    the log of its server or worker (empty where there is none).
    """

    kind: str
    cause: str
    remedy: str
    log_tail: str = ""


@dataclass(frozen=True)
class Trial:
    """One cell: a model by a method in an engine on a device. `reason` is empty exactly if the status is ok, `failure`
    is what is known of it where the status is failed (None in files of older programs).

    `engine_label` are the options that tell it from cells with other options of the same engine.
    """

    key: str
    status: Status
    reason: str
    model: str
    method: str
    method_label: str
    engine: str
    device: str
    checkpoint: Mapping[str, Any] | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    startup_seconds: float | None = None
    gates: tuple[Gate, ...] = ()
    speed: tuple[Speed, ...] = ()
    searches: tuple[Search, ...] = ()
    memory: Memory | None = None
    scores: tuple[Score, ...] = ()
    perplexities: tuple[Perplexity, ...] = ()
    closeness: tuple[Closeness, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    schema_version: int = TRIAL_SCHEMA_VERSION
    engine_label: str = ""

    @property
    def name(self) -> str:
        return f"{self.method_label} · {self.served_by}"

    @property
    def served_by(self) -> str:
        """The engine, with the options that tell it apart."""
        return f"{self.engine} {self.engine_label}".strip()

    @property
    def engine_options(self) -> Mapping[str, Any]:
        options: Mapping[str, Any] = self.provenance.get("engine_options") or {}
        return options

    @property
    def devices(self) -> int | None:
        """How many devices it ran on, by its engine's options; None where it was attached to and may run on any."""
        return None if self.provenance.get("attached") else devices(self.engine_options)

    @property
    def server(self) -> tuple[str, str, str]:
        """Model, engine and the engine's options: what a cell has in common with its baseline."""
        return self.model, self.engine, json.dumps(self.provenance.get("engine_options"), sort_keys=True)

    @property
    def unquantized(self) -> bool:
        """True where the checkpoint's weights were only cast, so that it can be a baseline."""
        return self.checkpoint is not None and self.checkpoint["spec"]["scheme"]["weights"] in FLOATS
