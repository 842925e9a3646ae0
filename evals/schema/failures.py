"""What is known of failures: a table of words with the kind that they tell of and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engines.runtime.process import split_log, tail
from engines.types import THREAD_ENDED
from evals.schema.trial import Failure

CAUSE_LENGTH = 300
AGAIN = "then sweep with --retry-failed"
NO_ENVIRONMENT = "missing environment"


@dataclass(frozen=True)
class Known:
    """One kind of failure: it is this one where `words` (a regular expression) are in what the exception says or, with
    `in_log`, in the last lines of the log that follow it.
    """

    kind: str
    words: str
    remedy: str
    in_log: bool = False


# The first that is found counts: what broke comes before how it showed.
KNOWN = (
    Known(
        "full disk",
        r"No space left on device|Disk quota exceeded|database or disk is full",
        f"free space on the disks of the cache folder and of the runs (`bitfrontier doctor` shows how much), {AGAIN}",
        in_log=True,
    ),
    Known(
        "out of memory",
        r"\bMemoryError\b|out of memory|OutOfMemoryError|bad_alloc|for want of memory|"
        r"(can't|cannot|unable to|failed to) allocate|larger than the available KV cache memory",
        "serving: give the KV cache fewer bytes (the engine's options), lower `concurrency` or `max_length`; "
        f"quantizing: calibrate with fewer or shorter samples; else a smaller model or more memory; {AGAIN}",
        in_log=True,
    ),
    Known(
        NO_ENVIRONMENT,
        r"environment '[^']+' could not be built",
        "check the network, the package index and the pins in configs/environments, or name an interpreter or an image "
        "under `environments`; the next sweep builds it and measures these cells",
    ),
    Known(
        "broken environment",
        r"^(ModuleNotFoundError|ImportError): |quantization failed: ProcessFailed: (ModuleNotFound|Import)Error",
        f"delete the environment's folder (`bitfrontier doctor` names it), {AGAIN}: it is built again",
        in_log=True,
    ),
    Known(
        "port taken",
        r"(?i)address already in use|couldn't bind",
        f"find the program that takes ports of the loopback address so fast, {AGAIN}",
        in_log=True,
    ),
    Known(
        "unreadable checkpoint",
        r"CheckpointError|SafetensorError|is not that of a safetensors file|it was cut off",
        "see the log for what the method wrote, and whether the disk is sound; with --retry-failed a checkpoint that "
        "is not whole is made again",
        in_log=True,
    ),
    Known(
        "worker lost",
        r"the worker ended with signal SIG(KILL|TERM)",
        f"find out who ended it (a person, a batch system's limit), {AGAIN}",
    ),
    Known("hang", r"was not done after", f"raise `time_limits: quantize_seconds` if it is only slow, {AGAIN}"),
    Known(
        "crash of our server",
        THREAD_ENDED,
        "the traceback in the log names the layer: Transformers or our server cannot run this model so; choose another "
        f"engine, `dtype` or method for it, {AGAIN}",
        in_log=True,
    ),
    Known(
        "crash in mid-stream",
        r"the server ended with .* while it was used",
        f"see the end of the log; lower `concurrency` if the load was too much for it, {AGAIN}",
    ),
    Known(
        "crash at start",
        r"ended with .* before it was ready|could not be made ready",
        "see the end of the log for what it lacks; change the engine's options, or name under its `methods` those that "
        f"it can serve, {AGAIN}",
    ),
    Known(
        "hang",
        r"was not ready after",
        f"see in the log how far it came; raise `time_limits: ready_seconds` if it only loads slowly, {AGAIN}",
    ),
    Known(
        "hang",
        r"no answer for|ReadTimeout",
        "raise `request_seconds` or `scoring_seconds` of `time_limits` if it is only slow, else leave this engine out; "
        f"{AGAIN}",
    ),
    Known(
        "wrong token counts",
        r"the server counted|the stream brought",
        "an engine that cuts prompts or answers cannot be timed: take another version of it, or leave it out",
    ),
    Known(
        "garbage output",
        r"gate '(golden prompt|sanity|greedy answer)' failed|is not JSON|is not HTTP|StreamBroken",
        "the engine does not compute this model: another version, `dtype` or kernel of it, or a milder quantization",
    ),
    Known("method failed", r"quantization failed", f"see what the method says; change its parameters, {AGAIN}"),
)
UNKNOWN = Known("other", "", f"see the log and the traceback beside it, {AGAIN}")


def explain(reason: str, log: Path | None = None) -> Failure:
    """What is known of a failure by its words: an exception's, and the last lines of the log that follow them.

    `log` is shown, where there is one, if the words bring no lines of their own; it is not searched: the failure need
    not be in it.
    """
    message, log_tail = split_log(reason)
    first, *more = message.strip().splitlines() or [""]
    matches = (
        (known, line)
        for known in (*KNOWN, UNKNOWN)
        for line in (first, *more, *(log_tail.splitlines() if known.in_log else []))
        if re.search(known.words, line)
    )
    known, line = next(matches)
    cause = first if line == first else f"{first}: {line.strip()}"
    return Failure(
        known.kind, cause[:CAUSE_LENGTH], known.remedy, log_tail or (tail(log) if log and log.exists() else "")
    )
