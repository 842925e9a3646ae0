"""Which cells of a run are to be measured again, and whether its plan may be started once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evals.schema.race_file import RACE_FILE, read_race
from evals.schema.run_file import RUN_FILE, NoRun, read_run
from evals.schema.trial_file import UnreadableTrial, read_trial
from flows.bundle.use import from_bundle
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared
from flows.plan.changes import changes_of
from flows.plan.outside import outside_lines
from flows.plan.samples import find_plan, sweep_command
from flows.plan.schema import Plan
from flows.plan.source import load_plan
from flows.sources.references import forget_failures
from flows.state.cache_gc import begun_here
from flows.state.locks import alone
from flows.state.progress_display import LogDisplay
from flows.state.status import RunChanged
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan


def drop_failed(folder: Path) -> None:
    """Delete the trials of the run that failed, what is remembered of references that did, and how a race went in which
    visits did. Raises RunBusy."""
    with alone(folder):
        forget_failures()
        for file in sorted((folder / "trials").glob("*.json")):
            if _is_failed(file):
                file.unlink()
        race = read_race(folder)
        if race is not None and any(left.failed for left in race.left):
            (folder / RACE_FILE).unlink()  # its finished visits are kept


def _is_failed(file: Path) -> bool:
    """Of a trial; one that is damaged counts as failed too. Where the disk or the rights do not let it be read now, it
    may be whole.
    """
    try:
        return read_trial(file).status == "failed"
    except UnreadableTrial as error:
        return not isinstance(error.__cause__, OSError)


def check_unchanged(folder: Path, show_outside: Callable[[Plan], None]) -> ResolvedPlan:
    """The plan of a run that would go on as it began. `show_outside` is called before anything of it is started.

    Raises what `prepared_as_begun` does, and RunChanged where program, packages or data are others than the run's: then
    its finished cells would be measured again too.
    """
    prepared = prepared_as_begun(folder, show_outside)
    sweep = prepared.sweep
    command = sweep_command(sweep.file, sweep.data_root, sweep.changes, sweep.bundle)
    names, measured = {row.file.name for row in prepared.rows}, {*read_run(folder)["trials"]}
    if others := names - measured:
        raise RunChanged(
            f"{len(others)} of {len(prepared.rows)} cells would be measured again: program, packages or data changed "
            f"since {folder} was made; `{command}` does that"
        )
    if gone := measured - names:
        raise RunChanged(
            f"{len(gone)} of {len(measured)} cells of {folder} are no longer in its plan. `{command}` "
            "measures those that are"
        )
    return sweep


def prepared_as_begun(folder: Path, show_outside: Callable[[Plan], None]) -> Prepared:
    """What a sweep of the run's own plan would work on now. `show_outside` is called before anything of it is started.

    Raises NoRun, PlanError, and RunChanged where the plan was changed, or the run came from somebody else: before
    anything that its plan names is started.
    """
    about = read_run(folder)
    if missing := [name for name in ("file", "data_root", "plan", "command") if name not in about]:
        raise NoRun(f"{folder / RUN_FILE}: it lacks `{missing[0]}`. Sweep its plan again")
    file, data_root, bundle = Path(about["file"]), about["data_root"], about.get("bundle")
    changes = changes_of(about.get("changes"))
    command = sweep_command(file, data_root, changes, bundle)
    if not find_plan(file).is_file():
        raise NoRun(f"{folder}: its plan {file} is not in {Path.cwd()}. Start this where `{command}` was started")
    parsed = load_plan(file, changes)
    if parsed.text != about["plan"]:
        raise RunChanged(f"{file} was changed since {folder} was made; `{command}` measures what is new in it")
    lines = outside_lines(parsed.plan)
    lines += [f"not ours: bundle {bundle} (its packages are installed and run)"] if bundle is not None else []
    if lines and not begun_here(folder, about["plan"]):
        entities = "\n".join(lines)
        raise RunChanged(
            f"{folder} was not started here with this plan, and uses what is not ours:\n{entities}\n"
            f"If you trust them, `{command} --retry-failed` starts the run"
        )
    show_outside(parsed.plan)
    silent = LogDisplay(lambda _: None)
    sweep = from_bundle(bundle, lambda base: check(parsed, data_root=data_root, base=base), silent)
    return prepare_sweep(sweep, environments_of(sweep), folder.parent, silent, references=False)
