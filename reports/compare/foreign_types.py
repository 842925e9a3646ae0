"""What other tools' result files say, in one form."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, with_config

from quant.errors import BitfrontierError

FINITE = with_config(ConfigDict(allow_inf_nan=False))


class Unreadable(BitfrontierError):
    """Not a result of a tool that is known here."""

    exit_code = 2


@FINITE
@dataclass(frozen=True)
class ForeignLoad:
    """One load: closed (`concurrency`) or open (`rate_per_second`), mean token counts, output tokens/s over all of it,
    medians in seconds. TPOT is without the first token.
    """

    concurrency: int | None
    rate_per_second: float | None
    prompt_tokens: float
    output_tokens: float
    output_rate: float
    ttft_seconds: float | None
    tpot_seconds: float | None

    @property
    def label(self) -> str:
        load = f"concurrency {self.concurrency}" if self.concurrency else f"{self.rate_per_second:g} requests/s"
        return f"{load}, about {self.prompt_tokens:.0f} / {self.output_tokens:.0f} tokens"


@FINITE
@dataclass(frozen=True)
class ForeignScore:
    """Accuracy on one task over so many items, with its standard error where it is told."""

    task: str
    metric: str
    value: float
    error: float | None
    items: int | None


@FINITE
@dataclass(frozen=True)
class Foreign:
    """What one file of `tool` tells."""

    tool: str
    model: str
    loads: tuple[ForeignLoad, ...] = ()
    scores: tuple[ForeignScore, ...] = ()
