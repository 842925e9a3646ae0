"""What a load measurement records: requests, the load, the client's and the GPU's own samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Arrivals = Literal["closed", "constant", "poisson", "gamma", "trace"]


# what `Request` computes, in the words that reports and README show
DEFINITIONS = {
    "TTFT": "first token − sent (in an open load: − due)",
    "TPOT": "(end − first token) ÷ (output tokens − those of the first chunk)",
    "ITL": "gap between chunks ÷ tokens of the later chunk",
}


@dataclass(frozen=True)
class Request:
    """One streamed completion. Times are seconds on the client's monotonic clock, counted from the load's start.

    `chunks` are (arrival, output tokens so far) of each chunk that brought tokens. `error` is None for a good one.
    `cached_tokens` of the prompt came from a prefix cache, where the server reports it.
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

    `workload` names where they are from. The first `shared_prefix_tokens` of every prompt are the same in all
    requests and repeats, as a system prompt is. With more than one of `turns`, a request is one turn of a conversation,
    and its prompt holds all before it; `prompt_tokens` are the first turn's. `prompts` names the file of the user's
    own, of which `prompt_tokens` is the most.

    With a `target_relative_ci`, it is repeated, at most `max_repeats` times, as often as the spread of the first
    repeats says that it takes for the half-width of the interval of its output rate to be at most that share of it.

    A closed loop keeps `concurrency` of them in flight. An open load (`concurrency` is None) sends them at
    `rate_per_second` whatever the server does, with gaps that are `arrivals` ("constant", "poisson", or "gamma" with a
    coefficient of variation of `arrival_cv`; 1 is poisson).

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
    arrival_cv: float = 1.0
    workload: str = ""
    shared_prefix_tokens: int = 0
    turns: int = 1
    prompts: str = ""
    target_relative_ci: float | None = None
    max_repeats: int = 0
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
        return self.shared_prefix_tokens + self.turns * (
            self.prompt_tokens - self.shared_prefix_tokens + self.output_tokens
        )

    @property
    def known_share(self) -> float:
        """Of the prompts' tokens, those that a prefix cache may know from other requests of this load: what is shared,
        and of a later turn the prompt before it, but not the drawn ids in place of the answer.
        """
        if self.trace:
            return self.trace_known_share
        step = self.prompt_tokens - self.shared_prefix_tokens + self.output_tokens
        asked = [self.prompt_tokens + turn * step for turn in range(self.turns)]
        return (self.shared_prefix_tokens + sum(asked[:-1])) / sum(asked)


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
    """What one GPU reported during one repeat: columns of one length, `seconds` from the load's start as its requests'.

    `watts` drawn, the clock of its processors (SM), its temperature, NVML's bits of `reasons` for that clock, and its
    counter of `joules`. An entry that the GPU does not report is None.
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
    """One load point: of every repeat the raw requests, what the client saw of itself, and what the server's GPUs
    reported (`gpus` is empty without any, and where it is not known which the server used). `first_repeats`: how
    many repeats decided by their spread how many were made, 0 where that was fixed. `rounds`: the round of a race in
    which each repeat was measured, in a fresh server; empty where all were measured in one.
    """

    load: LoadPoint
    repeats: tuple[tuple[Request, ...], ...]
    clients: tuple[ClientLoad, ...] = ()
    gpus: tuple[tuple[GpuSamples, ...], ...] = ()
    first_repeats: int = 0
    rounds: tuple[int, ...] = ()

    def visits(self) -> dict[int, tuple[tuple[Request, ...], ...]]:
        """The repeats of each visit, by its round; the repeats of one server alone are round 1."""
        rounds = self.rounds or (1,) * len(self.repeats)
        pairs = list(zip(rounds, self.repeats, strict=True))
        return {number: tuple(repeat for at, repeat in pairs if at == number) for number in sorted(set(rounds))}

    def of_round(self, number: int) -> Speed:
        """What was measured in one visit."""
        rounds = self.rounds or (1,) * len(self.repeats)
        return replace(self._at([place for place, at in enumerate(rounds) if at == number]), rounds=())

    def until(self, number: int) -> Speed:
        """What was known after so many rounds."""
        return self._at([place for place, at in enumerate(self.rounds) if at <= number]) if self.rounds else self

    def _at(self, places: Sequence[int]) -> Speed:
        """These repeats alone."""
        return replace(
            self,
            repeats=tuple(self.repeats[place] for place in places),
            clients=tuple(self.clients[place] for place in places if self.clients),
            gpus=tuple(self.gpus[place] for place in places if self.gpus),
            rounds=tuple(self.rounds[place] for place in places if self.rounds),
        )
