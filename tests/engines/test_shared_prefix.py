from __future__ import annotations

from engines.shared_prefix import MIN_SHARED_TOKENS, families

START = list(range(100, 100 + MIN_SHARED_TOKENS))


def test_contexts_that_begin_alike_are_a_family() -> None:
    contexts = [[*START, 1, 2], [7, 8], [*START, 1, 3], [*START, 5]]
    assert families(contexts) == [(0, [1]), (MIN_SHARED_TOKENS, [0, 2, 3])]


def test_a_little_in_common_is_nothing_in_common() -> None:
    assert families([[*START[1:], 1], [*START[1:], 2]]) == [(0, [0]), (0, [1])]


def test_every_member_keeps_a_token_of_its_own() -> None:
    """One context may be the beginning of another, or the very same."""
    assert families([[*START, 1], [*START, 1, 2], [*START, 1]]) == [(MIN_SHARED_TOKENS, [0, 2, 1])]


def test_two_families_are_told_apart() -> None:
    other = [token + 1000 for token in START]
    contexts = [[*other, 1], [*START, 1], [*START, 2], [*other, 2]]
    assert families(contexts) == [(MIN_SHARED_TOKENS, [1, 2]), (MIN_SHARED_TOKENS, [0, 3])]


def test_nothing_is_no_family() -> None:
    assert families([]) == []
