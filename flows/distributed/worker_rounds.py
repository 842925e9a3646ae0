"""What a worker does for a race: the visits of one round, one after another, each published as it ends.

A round has an order, which the sweep puts into the store before it asks for the round. A visit has a manifest of its
own, so that what a lost worker has published is not visited again, and is never put together from two servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

import flows.execute.worker_process
from engines.runtime.environments import build
from evals.schema.part import part_file
from evals.schema.race_file import MOST_ROUNDS
from evals.schema.trial import Failure
from flows.distributed.object_store import RECORD, Store
from flows.distributed.worker_tasks import Made, fetch_checkpoint, other_work, prepare_here
from flows.execute.prepared import Prepared
from flows.race.contenders import Entry, is_visited, visit_of
from flows.state.progress_display import Display
from flows.state.stages import plainly
from flows.validate.resolved import ResolvedPlan
from quant.canonical_json import write_json
from quant.hashing import digest

FAILURES = TypeAdapter(dict[str, Failure])


@dataclass(frozen=True)
class Order:
    """The round `number` of a race: its visits by their names in the store, in the order in which they are made.
    `attempt` counts how often it has been made: visits that failed are tried again by the next sweep.
    """

    number: Annotated[int, Field(ge=2, le=MOST_ROUNDS)]
    visits: tuple[Annotated[str, Field(pattern="^visits/[0-9a-f]{64}$")], ...]
    attempt: int = 0

    @property
    def key(self) -> str:
        return digest(asdict(self))

    @property
    def name(self) -> str:
        """Under which the round's end is in the store: why visits of it failed."""
        return f"rounds/{self.key}"

    @property
    def order_name(self) -> str:
        """Under which the order itself is there."""
        return f"orders/{self.key}"


ORDERS = TypeAdapter(Order)


def visit_name(entry: Entry, number: int) -> str:
    """Under which a cell's visit of this round is in the store. Sweeps that would make the same one share it."""
    return f"visits/{digest([request.key for request in visit_of(entry, number, 0).requests(entry.row)])}"


def publish_visits(prepared: Prepared, entries: Sequence[Entry], number: int, store: Store) -> None:
    """Put those that are finished here, and not there yet, into the store."""
    there = store.names("visits")
    for entry in entries:
        name, requests = visit_name(entry, number), visit_of(entry, number, 0).requests(entry.row)
        if name not in there and is_visited(prepared, entry, number):
            store.publish(name, prepared.folder, [f"parts/{part_file(request.key)}" for request in requests])


def make_round(
    sweep: ResolvedPlan, name: str, store: Store, display: Display, require_newest: Callable[[], None]
) -> Made:
    """Visit what of a round is not in the store. `require_newest` raises where another worker makes the round by now.
    A visit that fails is no end of the round: why it did is the round's result.

    Raises OtherWork where this worker would visit something else.
    """
    order = store.record(f"orders/{name.partition('/')[2]}", ORDERS)
    prepared = prepare_here(sweep, display)
    entries = _entries(prepared, order)
    left = {place: entry for place, entry in enumerate(entries, 1) if not store.has(order.visits[place - 1])}
    # before the first visit: what is built or brought between two would part them by minutes
    for environment in sorted({entry.row.cell.environment for entry in left.values()}):
        build(prepared.environments[environment], display.say)
    for entry in left.values():
        fetch_checkpoint(entry.row, store)
    failures = _visited(prepared, order, left, store, display, require_newest)
    folder = prepared.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD, failures)
    return folder, [RECORD]


def _entries(prepared: Prepared, order: Order) -> list[Entry]:
    """What this worker would visit by the order's names."""
    cells = [Entry(row, control) for row in prepared.rows if row.parts for control in (False, True)]
    by_name = {visit_name(entry, order.number): entry for entry in cells}
    if missing := [visit for visit in order.visits if visit not in by_name]:
        raise other_work(missing[0])
    return [by_name[visit] for visit in order.visits]


def _visited(
    prepared: Prepared,
    order: Order,
    left: Mapping[int, Entry],
    store: Store,
    display: Display,
    require_newest: Callable[[], None],
) -> dict[str, Failure]:
    """Why visits failed, by their names; the others are in the store."""
    failures: dict[str, Failure] = {}
    with flows.execute.worker_process.aside(prepared) as bench:
        for place, entry in left.items():
            title, failure = f"round {order.number}, {entry.name}", None
            if not is_visited(prepared, entry, order.number):
                failure = bench.visit(entry.row, visit_of(entry, order.number, place), display, plainly)
            require_newest()
            if failure is None:
                publish_visits(prepared, [entry], order.number, store)
            else:
                failures[order.visits[place - 1]] = failure
            display.say(f"  {title}: {failure.cause[:160] if failure else 'visited'}")
    return failures
