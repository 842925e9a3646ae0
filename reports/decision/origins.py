"""Whether the cells of a report were measured on one machine and on one day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.schema.trial import Trial


def mixed_origins(trials: Sequence[Trial]) -> tuple[str, ...]:
    """A sentence for several hosts, and one for several days. Trials of older programs record neither."""
    origins = [trial.provenance.get("measured") or {} for trial in trials if trial.status == "ok"]
    hosts = {origin["host"]: origin.get("cpu", "") for origin in origins if origin.get("host")}
    days = sorted({origin["started"][:10] for origin in origins if origin.get("started")})
    return tuple(_sentences(hosts, days))


def _sentences(hosts: Mapping[str, str], days: Sequence[str]) -> list[str]:
    sentences = []
    if len(hosts) > 1:
        names = ", ".join(f"{host} ({cpu})" if cpu else host for host, cpu in sorted(hosts.items()))
        sentences.append(f"the cells were measured on {len(hosts)} hosts, {names}: speeds may differ by the machine")
    if len(days) > 1:
        sentences.append(
            f"the cells were measured on {len(days)} days (UTC), {', '.join(days)}: the machine may have changed"
        )
    return sentences
