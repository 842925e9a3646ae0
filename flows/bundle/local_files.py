"""The files of this machine that a plan names, and where they lie in a bundle: as they lie to each other here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evals.data.corpora import WIKITEXT, WIKITEXT_HUB_NAME
from evals.data.local_root import dataset_folder
from evals.tasks.own_definitions import own_files
from flows.bundle.contents import FILES, HUB, BadBundle
from flows.sources import hub
from flows.sources.checkpoints import fetch_stored
from flows.sources.hub import Repository
from flows.sources.model_facts import model_files
from flows.sources.models import whole_model
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import reads_wikitext
from quant.canonical_json import named_path, with_home
from quant.checkpoints.model_files import MODEL_FILES, STORED_FILES, regular_files


@dataclass(frozen=True)
class Copy:
    """A file of this machine, and its place in the bundle."""

    source: Path
    path: str


def local_files(sweep: ResolvedPlan) -> tuple[str, list[Copy]]:
    """Where relative names of the plan start from in the bundle, and all files that it names, with the plan itself.

    Raises BadBundle for a name that is not relative to the plan: no other machine has it.
    """
    named = {sweep.base / sweep.file.name: sweep.file.resolve()}
    for text, sources in _named(sweep):
        if with_home(text).is_absolute():
            raise BadBundle(
                f"{sweep.file} names {text}, which is a place of this machine alone. Name it relative to the plan's "
                "folder: in a bundle it lies as it does here"
            )
        place = Path(os.path.normpath(sweep.base / text))
        named |= {place / inner if inner else place: source for inner, source in sources.items()}
    common = Path(os.path.commonpath([sweep.base, *(place.parent for place in named)]))
    copies = [Copy(source, f"{FILES}/{place.relative_to(common).as_posix()}") for place, source in named.items()]
    return Path(FILES, sweep.base.relative_to(common)).as_posix(), copies


def _named(sweep: ResolvedPlan) -> Iterator[tuple[str, dict[str, Path]]]:
    """Each name in the plan with its files, by their places below it."""
    plan = sweep.plan
    cells = [cell for cell in sweep.cells if cell.unsupported is None]
    folders = {str(facts.location): model_files for facts in sweep.models if facts.kind == "folder"}
    for text in plan.models:
        folder = named_path(sweep.base, text)
        if str(folder) in folders:
            yield text, {file.name: file for file in model_files(folder)}
    for stored in {checkpoint for cell in cells for checkpoint in cell.quantization.stored.values()}:
        if not stored.text.startswith("hub:"):
            yield stored.text, {file.name: file for file in regular_files(stored.folder, STORED_FILES)}
    texts = {load.prompts for load in sweep.loads if load.prompts} | {*sweep.traces}
    texts |= {entry.prompts for entry in plan.kl_divergence if entry.prompts != WIKITEXT}
    if any(cell.quantization.calibration for cell in cells) and not plan.calibration.text.startswith("pypi:"):
        texts.add(plan.calibration.text)
    for text in sorted(texts):
        yield text, {"": named_path(sweep.base, text)}
    if plan.tasks_path and (own := sweep.own_tasks):
        yield plan.tasks_path, {file.relative_to(own).as_posix(): file for file in _own_tasks(sweep, own)}
    if plan.data != "hub" and not plan.data.startswith("pypi:"):
        yield plan.data, _of_data(sweep, named_path(sweep.base, plan.data))


def _own_tasks(sweep: ResolvedPlan, own: Path) -> list[Path]:
    """All of the user's folder of task definitions. Raises BadBundle where one reads a file that is elsewhere."""
    for task in sweep.tasks:
        for leaf in sweep.known_tasks.leaves(task.name):
            data = leaf.own_data
            for file in (file for files in data.files.values() for file in files) if data else ():
                if not file.resolve().is_relative_to(own.resolve()):
                    raise BadBundle(f"task '{leaf.name}' reads {file}. Put it into {own}, named relative to the task")
    return own_files(own)


def _of_data(sweep: ResolvedPlan, root: Path) -> dict[str, Path]:
    """The files of the data sets that the plan's tasks and texts read in a local root. Raises DataError."""
    names = set().union(*(sweep.known_tasks.data_sets(task.name) for task in sweep.tasks))
    names |= {WIKITEXT_HUB_NAME} if reads_wikitext(sweep.plan) else set()
    files = {}
    for name in sorted(names):
        folder = dataset_folder(root, name)
        for file in (file for file in folder.rglob("*") if file.is_file()):
            if not (real := file.resolve()).is_relative_to(root):
                raise BadBundle(f"{file} is a link that leads out of {root}. Put the file itself there")
            files[f"{name}/{file.relative_to(folder).as_posix()}"] = real
    return files


def hub_files(sweep: ResolvedPlan, say: Callable[[str], None]) -> Iterator[Copy]:
    """The files of the hub's models and checkpoints, fetched into its cache, as that cache has them without links."""
    for facts in sweep.models:
        if facts.kind == "hub":
            repository = Repository(facts.location)
            yield from _snapshot(repository, whole_model(repository, say), MODEL_FILES)
    cells = [cell for cell in sweep.cells if cell.unsupported is None]
    for stored in {checkpoint for cell in cells for checkpoint in cell.quantization.stored.values()}:
        if stored.text.startswith("hub:"):
            fetch_stored(stored)
            repository = Repository(stored.text.removeprefix("hub:"), "checkpoint")
            folder, _ = hub.cached(repository, STORED_FILES)
            if folder is not None:
                yield from _snapshot(repository, folder, STORED_FILES)


def _snapshot(repository: Repository, folder: Path, patterns: tuple[str, ...]) -> Iterator[Copy]:
    """The files of a snapshot, and the cache's notes: which commit a branch or a tag is, and what it has."""
    repository_folder = folder.parents[1]
    place = f"{HUB}/{repository_folder.name}"
    for file in regular_files(folder, patterns):
        yield Copy(file.resolve(), f"{place}/snapshots/{folder.name}/{file.name}")
    for note in (f"refs/{repository.revision or 'main'}", f"trees/{folder.name}.json"):
        if (repository_folder / note).is_file():
            yield Copy(repository_folder / note, f"{place}/{note}")
