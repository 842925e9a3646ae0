"""Answers of one server that are kept on disk, so that an interrupted cell goes on and a rerun asks nothing twice.

One file belongs to one checkpoint in one engine with its version, options and device, which the caller's path says.
Within it a question is known by what is really asked: the token ids of a context with its continuation, or of a
prompt with its limits. So a task's digest is in it, and nothing is ever shared between models.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from evals.scoring.generate import Prompt
from evals.scoring.types import Pair, Scored

Keep = Callable[[Iterable[tuple[int, Any]]], None]


def keep_scores(
    file: Path | None, pairs: Sequence[Pair], ask: Callable[[Sequence[Pair], Keep], Sequence[Scored]]
) -> list[Scored]:
    """Scores of `pairs`: those that `file` knows, and the answers of `ask` to the others, kept as they come.

    `ask` gets the pairs that are missing, and what it should call with (index, result) of each that it has.
    """
    keys = [_digest([pair.context, pair.continuation]) for pair in pairs]
    answers = _keep(file, keys, pairs, ask, lambda score: [score.logprobs, score.greedy])
    return [answer if isinstance(answer, Scored) else Scored(tuple(answer[0]), tuple(answer[1])) for answer in answers]


def keep_answers(
    file: Path | None, prompts: Sequence[Prompt], ask: Callable[[Sequence[Prompt], Keep], Sequence[str]]
) -> list[str]:
    """The same for generated texts."""
    keys = [_digest([prompt.token_ids, prompt.max_tokens, prompt.until]) for prompt in prompts]
    return _keep(file, keys, prompts, ask, lambda answer: answer)


def _digest(described: object) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _keep(
    file: Path | None,
    keys: Sequence[str],
    questions: Sequence[Any],
    ask: Callable[[Sequence[Any], Keep], Sequence[Any]],
    plain: Callable[[Any], Any],
) -> list[Any]:
    if file is None:
        return list(ask(questions, lambda _: None))
    with _open(file) as database:
        known = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM answers")}
        missing = [index for index, key in enumerate(keys) if key not in known]

        def keep(answers: Iterable[tuple[int, Any]]) -> None:
            rows = [(keys[missing[index]], json.dumps(plain(answer))) for index, answer in answers]
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
            database.commit()

        if not missing:
            return [known[key] for key in keys]
        asked = dict(zip(missing, ask([questions[index] for index in missing], keep), strict=True))
    return [asked[index] if index in asked else known[key] for index, key in enumerate(keys)]


@contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    """A file that was cut short, or is none of ours, is begun anew: it holds nothing that cannot be asked again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    create = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
    try:
        with closing(sqlite3.connect(file)) as database:
            database.execute(create)
            database.execute("PRAGMA quick_check")
    except sqlite3.DatabaseError:
        file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(create)
        yield database
