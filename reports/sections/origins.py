"""Whether the cells of a report were measured on one machine, on one day, and as they would be measured now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.schema.trial import Trial


def mixed_origins(trials: Sequence[Trial]) -> tuple[str, ...]:
    """A sentence for several hosts, machines, and days. Trials of older programs record none."""
    measured = [trial for trial in trials if trial.status == "ok"]
    origins = [trial.provenance.get("measured") or {} for trial in measured]
    origins += [origin for trial in measured for origin in (trial.provenance.get("parts") or {}).values()]
    hosts = {origin["host"]: origin.get("cpu", "") for origin in origins if origin.get("host")}
    days = sorted({origin["started"][:10] for origin in origins if origin.get("started")})
    machines = [trial.provenance["machine"] for trial in measured if trial.provenance.get("machine")]
    return tuple(_sentences(hosts, days, machines))


def kept_stale(about: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each result of a run that was kept although something else would be measured now."""
    names = {cell["trial"]: cell["name"] for cell in about.get("cells", [])}
    return tuple(
        f"{names.get(file, file)} keeps a stale result. A new measurement would differ: {'; '.join(reasons)}"
        for file, reasons in (about.get("stale") or {}).items()
    )


def _sentences(hosts: Mapping[str, str], days: Sequence[str], machines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(hosts) > 1:
        names = ", ".join(f"{host} ({cpu})" if cpu else host for host, cpu in sorted(hosts.items()))
        yield f"the cells were measured on {len(hosts)} hosts ({names}): speeds may differ by host"
    fields = dict.fromkeys(name for machine in machines for name in machine)
    differing = [name for name in fields if any(machine.get(name) != machines[0].get(name) for machine in machines)]
    if differing:
        by_name = {name: sorted({str(machine.get(name)) for machine in machines}) for name in differing}
        values = "; ".join(f"{name.replace('_', ' ')} {', '.join(texts)}" for name, texts in by_name.items())
        yield f"the cells were measured on machines that differ in {values}: their speeds cannot be compared"
    if len(days) > 1:
        yield f"the cells were measured on {len(days)} days (UTC), {', '.join(days)}: the machine may have changed"
