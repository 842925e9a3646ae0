"""How an engine describes itself (`Engine`), what it is asked to start (`Serving`, `Launch`) and what runs then.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from quant.errors import CellFailure
from quant.types import Scheme

PromptLogprobs = Literal[
    "score", "prompt_logprobs", "logprob_start_len", "echo", "prefill", "forcing", "context_logits", "none"
]
Form = Literal["openai", "kserve", "text_input", "tgi", "ollama"]
Prompts = Literal["ids", "text"]
ChunkTokens = Literal["usage", "timings", "index", "added", "one"]


WHOLE_VOCABULARY = -1  # of `Dialect.top_tokens`


# what a model's `generation_config.json` may turn on behind a greedy request, switched off
NEUTRAL_SAMPLING = {"repetition_penalty": 1.0}


@dataclass(frozen=True)
class Dialect:
    """What a server family can do, as flags that drive the clients; never decided by an engine's name.

    `prompt_logprobs`: "score" is our own `/score` (a context with several continuations), "prompt_logprobs" is
    vLLM's field of `/v1/completions`, "logprob_start_len" SGLang's of `/generate`, "echo" OpenAI's old way (`echo`
    with `logprobs`), "prefill" TGI's `decoder_input_details`, "forcing" generates each token by a logit bias and reads
    its unbiased log-probability (llama-server's `/completion`), "context_logits" is TensorRT-LLM's
    `return_context_logits` (tokens × vocabulary as JSON: exact and heavy), "none": accuracy cannot be measured there.
    `form`: how a completion is asked for and answered: "openai" is `/v1/completions`, its streams end with `[DONE]`;
    "kserve" is the generate extension of KServe's protocol, flat tensors by name, its streams end with the connection;
    "text_input" is the same extension with the tensors of Triton's vLLM backend;
    "tgi" is TGI's `/generate` and `/generate_stream`, "ollama" Ollama's `/api/generate` in lines of JSON.
    `prompts`: "ids" are token ids; "text" is all that some servers take: then the text must give exactly those ids.
    `completions`, `streams` (None: the same) and `scores` are the paths.
    `chunk_tokens`: how a streamed chunk tells the tokens so far: "usage" (`continuous_usage_stats`), "timings"
    (llama-server's `timings_per_token`), "index" (TGI numbers its tokens), "added" (those of this chunk), or "one" a
    chunk, which is checked against the count at the end.
    `ignore_eos`: the field of that name is known; without it an answer may end early, which is no result.
    `model`: what requests call the model.
    `prompt_lists`: one request may bring several prompts of token ids.
    `request_fields`: sent with every completion, such as what switches a prefix cache off.
    `key_field`: the field of requests that brings the key to a server that looks into no header, or None.
    `metrics`: Prometheus text at this path (or at the launch's `metrics_port`), or None; `kv_peak_gauge` is the gauge
    there of KV bytes in use at most, `fact_gauges` maps facts to gauges there and what they are multiplied by.
    `statistics`: KServe's statistics of the model are at this path.
    `flush`: POST here empties the prefix cache; done before each repeat of a load point.
    `label_logprobs`: log-probabilities of named next tokens can be asked for (`logprob_token_ids`).
    `top_tokens`: how many of the most likely tokens the server tells at each position of a prompt; −1 is all of the
    vocabulary, 0 none.
    """

    prompt_logprobs: PromptLogprobs
    chunk_tokens: ChunkTokens
    metrics: str | None
    kv_peak_gauge: str | None = None
    label_logprobs: bool = False
    request_fields: Mapping[str, Any] = field(default_factory=dict)
    ignore_eos: bool = True
    model: str = "served"
    prompt_lists: bool = True
    top_tokens: int = 0
    fact_gauges: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    flush: str | None = None
    statistics: str | None = None
    form: Form = "openai"
    prompts: Prompts = "ids"
    health: str = "/health"
    completions: str = "/v1/completions"
    streams: str | None = None
    scores: str = "/score"
    key_field: str | None = None


@dataclass(frozen=True)
class Device:
    """Where a cell runs. `kind` is "cpu" or "cuda"; `features` are instruction sets or a compute capability.

    `memory_bytes` are those of one. `slots` name what a cell has to itself while it is measured: the processor, or the
    GPUs that may be used.
    """

    kind: Literal["cpu", "cuda"]
    name: str
    features: frozenset[str]
    memory_bytes: int
    slots: tuple[str, ...] = ("cpu",)

    @property
    def count(self) -> int:
        return len(self.slots)


UNQUANTIZED = Scheme("float16")


@dataclass(frozen=True)
class Serving:
    """What is the same for every engine: which checkpoint (with which numbers in it), on what it runs, and where it
    listens, which is chosen when it is started.
    """

    checkpoint: Path
    device: Device
    threads: int
    max_model_len: int
    port: int = 0
    api_key: str = ""
    scheme: Scheme = UNQUANTIZED

    def dtype(self, asked: str) -> str:
        return asked_dtype(asked, self.device)


def asked_dtype(asked: str, device: Device) -> str:
    """The type to compute in: "auto" is float32 on a CPU, where bf16 and fp16 are mostly emulated; elsewhere it is the
    checkpoint's own.
    """
    return "float32" if asked == "auto" and device.kind == "cpu" else asked


@dataclass(frozen=True)
class Launch:
    """A command to run in the engine's environment (`command` follows its Python interpreter) and its variables.

    `facts` are what is known of the server by how it is started; what it says itself comes before them.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_seconds: float = 600.0
    metrics_port: int | None = None
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


def arguments(flags: Mapping[str, object]) -> tuple[str, ...]:
    """A server's flags as words of its command line: True is the flag alone, False and None leave it out."""
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    return tuple(word for name, value in given.items() for word in ((name,) if value is True else (name, str(value))))


CRASH_PREFIX = "bitfrontier-crash "  # begins the last line in the log of our server that crashed; the exception follows


class ServerFailed(CellFailure):
    """A server did not do what was asked of it."""


@dataclass(frozen=True)
class TimeLimits:
    """When a server is given up: it is not ready (None: the engine's own limit), a request of a timed load, or
    of gates and scoring, is not answered in full.
    """

    ready_seconds: float | None = None
    request_seconds: float = 600.0
    scoring_seconds: float = 3600.0  # one may hold thousands of tokens for a large model on few cores


LIMITS = TimeLimits()


ATTACHED_SERVER = "attached_server"  # the fact that identifies a server behind an address, in its own words


@dataclass(frozen=True)
class Attached:
    """A server that somebody else started: its address, the variable that holds its key, its name for the model."""

    url: str
    key_variable: str | None
    model: str


@dataclass(frozen=True)
class Endpoint:
    """A server that answers. `pid` is None where it was not started here.

    `facts` is what the engine says of itself: version, kernels, weight and KV bytes. `tokenizer` is the folder of the
    model's tokenizer, for servers that take text alone.
    """

    url: str
    api_key: str
    pid: int | None
    log: Path
    dialect: Dialect
    startup_seconds: float
    facts: Mapping[str, str | int | float]
    metrics_url: str | None = None
    tokenizer: Path | None = None
    limits: TimeLimits = LIMITS

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
