"""The trial of a race's control, which is in no table of cells."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from evals.schema.race_file import RaceState
from evals.schema.secrets_hidden import without_secrets
from evals.schema.trial import Trial
from evals.schema.trial_file import UnreadableTrial, read_trial

logger = logging.getLogger(__name__)


def control_of(folder: Path, race: RaceState | None) -> Trial | None:
    """The trial of a race's control, where it was visited; None, with a warning, where it is damaged."""
    file = folder / "trials" / race.control if race and race.control else None
    try:
        return without_secrets(read_trial(file)) if file and file.is_file() else None
    except UnreadableTrial as error:
        _warn_once(f"the race's control is left out: {error}")
        return None


@cache
def _warn_once(warning: str) -> None:
    logger.warning(warning)  # a command reads results more than once
