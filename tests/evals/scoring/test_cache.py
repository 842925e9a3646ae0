"""Answers that are kept: nothing is asked twice, nothing is shared, nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from evals.scoring.cache import Keep, keep_answers, keep_scores
from evals.scoring.generate import Prompt
from evals.scoring.types import Pair, Scored

FIRST, SECOND, THIRD = Pair((1, 2), (3,)), Pair((1,), (2, 3)), Pair((4,), (5, 6))


class Server:
    """Scores a pair by its first continuation token; dies before its `dies_at`-th answer."""

    def __init__(self, dies_at: int = 100) -> None:
        self.asked: list[Pair] = []
        self.dies_at = dies_at

    def ask(self, pairs: Sequence[Pair], keep: Keep) -> list[Scored]:
        answers = []
        for index, pair in enumerate(pairs):
            if len(self.asked) == self.dies_at:
                raise ConnectionError("gone")
            self.asked.append(pair)
            answers.append(Scored((-float(pair.continuation[0]),) * len(pair.continuation), (True,) * 2))
            keep([(index, answers[-1])])
        return answers


def test_what_is_known_is_not_asked_again(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "answers" / "a.sqlite"
    first = keep_scores(file, [FIRST, SECOND], server.ask)
    again = keep_scores(file, [SECOND, THIRD, FIRST, SECOND], server.ask)
    assert server.asked == [FIRST, SECOND, THIRD]
    assert again == [first[1], Scored((-5.0, -5.0), (True, True)), first[0], first[1]]


def test_a_context_that_ends_later_is_another_question(tmp_path: Path) -> None:
    """(1, 2) → 3 and (1) → 2, 3 are the same tokens."""
    server = Server()
    assert keep_scores(tmp_path / "a", [FIRST], server.ask) != keep_scores(tmp_path / "a", [SECOND], server.ask)


def test_two_servers_share_nothing(tmp_path: Path) -> None:
    server = Server()
    keep_scores(tmp_path / "a", [FIRST], server.ask)
    keep_scores(tmp_path / "b", [FIRST], server.ask)
    assert server.asked == [FIRST, FIRST]


def test_an_interrupted_cell_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        keep_scores(tmp_path / "a", [FIRST, SECOND, THIRD], Server(dies_at=2).ask)
    server = Server()
    keep_scores(tmp_path / "a", [FIRST, SECOND, THIRD], server.ask)
    assert server.asked == [THIRD]


def test_a_file_that_is_none_of_ours_is_begun_anew(tmp_path: Path) -> None:
    server, file = Server(), tmp_path / "a"
    file.write_bytes(b"cut short" * 200)
    keep_scores(file, [FIRST], server.ask)
    keep_scores(file, [FIRST], server.ask)
    assert server.asked == [FIRST]


def test_without_a_file_everything_is_asked() -> None:
    server = Server()
    keep_scores(None, [FIRST], server.ask)
    keep_scores(None, [FIRST], server.ask)
    assert server.asked == [FIRST, FIRST]


def test_answers_are_kept_by_all_that_limits_them(tmp_path: Path) -> None:
    asked: list[Prompt] = []

    def ask(prompts: Sequence[Prompt], keep: Keep) -> list[str]:
        asked.extend(prompts)
        answers = [f"answer {len(asked)}"] * len(prompts)
        keep(enumerate(answers))
        return answers

    short, long, stopped = Prompt((1,), 4, ()), Prompt((1,), 8, ()), Prompt((1,), 4, ("\n",))
    first = [keep_answers(tmp_path / "a", [prompt], ask) for prompt in (short, long, stopped)]
    again = [keep_answers(tmp_path / "a", [prompt], ask) for prompt in (short, long, stopped)]
    assert first == again == [["answer 1"], ["answer 2"], ["answer 3"]]
    assert asked == [short, long, stopped]
