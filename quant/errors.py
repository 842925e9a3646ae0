"""Errors that are for people: their words say what is wrong and what to do, and no traceback is needed.

    BitfrontierError                quant.errors
        BadBundle                   flows.bundle.contents
        BadRequest                  engines.reference_server.api_schema
        CellFailure                 quant.errors
            ChatTemplateError       evals.accuracy.chat_template
            CheckpointError         quant.checkpoints.safetensors
            DataError               evals.data.local_root
            EnvironmentFailed       engines.runtime.environments
            NoBaseline              flows.execute.rows
            OtherWork               flows.distributed.worker_tasks
            ProcessFailed           engines.runtime.process
            ServerFailed            engines.types
                GateFailed          evals.accuracy.gates
                LoadFailed          evals.load.benchmark
                RequestFailed       evals.load.generator
                ScoringFailed       evals.api.post
                StreamBroken        evals.load.sse
        DamagedDistributions        reports.metrics.divergence
        FileInTheWay                flows.plan.samples
        LinkInRun                   evals.schema.run_file
        MethodError                 quant.registry
        NewerSchema                 evals.schema.migrate
        NoFirstPlan                 flows.cli.new_plan.choice
        NoRun                       evals.schema.run_file
        NotComparable               reports.compare.runs
        NotDeployed                 flows.orchestration.deployment_runs
        NotEstimable                evals.rounds.block_model
        NotKept                     flows.state.kept_checkpoints
        NotKnown                    evals.metrics.energy
        NotOurs                     flows.state.cache_gc
        NotServed                   flows.cli.serve.served_cell
        NotTheWholeModel            quant.reference_outputs
        NotWritable                 engines.runtime.cache
        PlanError                   flows.plan.source
        PrefectLost                 flows.orchestration.api_server
        PrefectUnusable             flows.orchestration.configured_api
        RecordUnreadable            flows.state.ownership
        Relayed                     flows.execute.worker_process
        RemoteCodeRefused           quant.no_remote_code
        Rescheduled                 flows.orchestration.deployment_runs
        RoundLost                   flows.orchestration.distributed
        RunBusy                     flows.state.locks
        RunChanged                  flows.state.status
        SourceError                 flows.sources.samples
        StoreError                  flows.distributed.object_store
        TransformFailed             quant.tools.llmcompressor
        UnknownCheckpoint           flows.cli.quantize_command
        UnknownModel                flows.cli.model.command
        Unreadable                  reports.compare.foreign_types
        UnreadableSettings          engines.runtime.installing.pip_config
        UnreadableSummary           reports.output.index.run_summary
        UnreadableTrial             evals.schema.trial_file
        UnsafeLock                  flows.state.locks
        UnusableChange              flows.plan.changes
        UnusableSetting             flows.orchestration.configured_api
        UnusableVariable            flows.cli.network_variables

A cell's failure has a kind besides its words: it is set where the fact is known, and nothing reads it back from the
words. `docs/reference/failures.md` describes each kind. Standard library only: workers and servers import this too.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

FailureKind = Literal[
    "full-disk",
    "out-of-memory",
    "missing-environment",
    "missing-baseline",
    "failed-baseline",
    "broken-environment",
    "port-taken",
    "unreachable-server",
    "unreadable-checkpoint",
    "unusable-data",
    "worker-lost",
    "worker-mismatch",
    "timeout",
    "reference-server-crash",
    "crash-in-use",
    "crash-at-start",
    "request-failed",
    "no-logprobs",
    "wrong-token-counts",
    "garbage-output",
    "method-failed",
    "other",
]
# these tell how a failure showed: what a log says of its cause is better known
SYMPTOMS: tuple[FailureKind, ...] = ("crash-at-start", "crash-in-use", "method-failed", "other")
AGAIN = "then sweep with --retry-failed"
REMEDIES: Mapping[FailureKind, str] = {
    "full-disk": "free space on the disks of the cache folder and of the runs (`bitfrontier doctor` shows how much), "
    + AGAIN,
    "out-of-memory": "serving: give the KV cache fewer bytes (the engine's options), lower `concurrency` or "
    "`max_length`; quantizing: calibrate with fewer or shorter samples; else a smaller model or more memory; " + AGAIN,
    "missing-environment": "check the network, the package index and the pins in configs/environments, or name an "
    "interpreter or an image under `environments`; the next sweep builds it and measures these cells",
    "missing-baseline": "sweep without --keep-stale, so that the baseline is measured, or use "
    "`accuracy: {budget: full}`, " + AGAIN,
    "failed-baseline": "mend the baseline, or add another one to `methods`: the next sweep measures these cells",
    "broken-environment": "delete the environment's folder (`bitfrontier doctor` names it), "
    + AGAIN
    + ": it is built again",
    "port-taken": "find the program that takes ports of the loopback address so fast, " + AGAIN,
    "unreachable-server": "start the server, or correct its address, key or model under `attach`, " + AGAIN,
    "unreadable-checkpoint": "see the log for what the method wrote, and whether the disk is sound; with "
    "--retry-failed a checkpoint that is not whole is made again",
    "unusable-data": "mend the data set, the chat template or the task that the cause names, " + AGAIN,
    "worker-lost": "find out who ended it (a person, a batch system's limit), " + AGAIN,
    "worker-mismatch": "bring the workers' plan, program, packages and data to the sweep's state, " + AGAIN,
    "timeout": "see in the log how far it came; if it is only slow, raise the limit of `time_limits` that the cause "
    "names, else leave this method or engine out; " + AGAIN,
    "reference-server-crash": "the traceback in the log names the layer: Transformers or our server cannot run this "
    "model so; choose another engine, `dtype` or method for it, " + AGAIN,
    "crash-in-use": "see the end of the log; lower `concurrency` if the load was too much for it, " + AGAIN,
    "crash-at-start": "see the end of the log for what it lacks; change the engine's options, or name under its "
    "`methods` those that it can serve, " + AGAIN,
    "request-failed": "see the engine's log for why it refused or dropped the request; change the engine's options or "
    "its version, " + AGAIN,
    "no-logprobs": "take an engine, a version or options with exact log-probabilities of a prompt "
    "(`bitfrontier engines` lists them), " + AGAIN,
    "wrong-token-counts": "an engine that cuts prompts or answers cannot be timed: take another version of it, or "
    "leave it out",
    "garbage-output": "the engine does not compute this model: another version, `dtype` or kernel of it, or a milder "
    "quantization",
    "method-failed": "see what the method says; change its parameters, " + AGAIN,
    "other": "see the log and the traceback beside it, " + AGAIN,
}


def program() -> str:
    """The program as the user's shell starts it: in a clone the environment is uv's, and only `uv run` finds it.

    No path of this machine is in it, because reports hold it.
    """
    return "uv run bitfrontier" if "UV_RUN_RECURSION_DEPTH" in os.environ else "bitfrontier"  # uv sets it for all below


def remedy_of(kind: FailureKind) -> str:
    """What to do about a failure, with commands as they run here."""
    return REMEDIES[kind].replace("`bitfrontier ", f"`{program()} ")


class BitfrontierError(Exception):
    """The root of all errors for people. The command line shows it as it is and ends with `exit_code` (1 failed, 2 bad
    input).
    """

    exit_code = 1

    @property
    def shown(self) -> str:
        return f"error: {self}"


class CellFailure(BitfrontierError):
    """A cell cannot be measured: its row in the report has the kind, the cause in a line, the remedy, the log's end.

    Subclasses set `kind`; a `raise` that knows better gives its own. `log_tail` are the last lines of a log.
    """

    kind: FailureKind = "other"

    def __init__(self, cause: str, *, kind: FailureKind | None = None, log_tail: str = "") -> None:
        super().__init__(cause)
        self.kind, self.log_tail = kind or self.kind, log_tail

    @property
    def cause(self) -> str:
        return str(self)

    @property
    def remedy(self) -> str:
        return remedy_of(self.kind)

    @property
    def shown(self) -> str:
        return f"error: {self}" + (f"\nend of the log:\n{self.log_tail}" if self.log_tail else "")


logger = logging.getLogger(__name__)
# all but line feeds and tabs; also what changes the direction of a text, which then reads as another
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def without_controls(text: str) -> str:
    """`text` as a terminal may show it: control characters, with which others' texts could move the cursor, clear the
    screen or set titles, are written as \\x1b; so are halves of surrogate pairs, which no encoding has.
    """
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


@contextmanager
def reading(
    place: object, failure: Callable[[str], Exception], remedy: str, fault: str = "cannot be read"
) -> Iterator[None]:
    """Read what others made: whatever goes wrong in the block raises `failure` with one line, which names the place,
    what happened and the remedy. A file can break its reader in any way: a library's own errors, a missing key, an
    endless recursion, no memory. Errors for people pass.
    """
    try:
        yield
    except BitfrontierError:
        raise
    except BaseException as error:  # the one place where any error of a reader becomes a line
        if not is_failure(error):
            raise
        logger.debug("%s: %s", place, fault, exc_info=True)
        words = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise failure(without_controls(f"{place}: {fault} ({words[:200]}). {remedy}")) from error


def is_failure(error: BaseException) -> bool:
    """Whether what was called failed, rather than that somebody ended it: also a panic of a library in Rust, such as a
    tokenizer's expression that takes too long, which is no Exception.
    """
    return isinstance(error, Exception | SystemExit) or type(error).__name__ == "PanicException"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 cell`, `2 cells`; `plural` where it is more than the noun with an s."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def one_line(error: BaseException) -> str:
    """An error in one line: our own by its words, others with their type. Where those say nothing (an assertion without
    a text, a missing key), also the line of code that raised.
    """
    words = " ".join(str(error).split())
    if isinstance(error, BitfrontierError):
        return words
    name = type(error).__name__
    text = f"{name}: {words}" if words else name
    frames = traceback.extract_tb(error.__traceback__)
    if frames and (not words or isinstance(error, KeyError)):
        file = frames[-1].filename.rpartition("/site-packages/")[-1]
        text += f" at {file}:{frames[-1].lineno}: `{frames[-1].line}`"
    return text
