"""Contexts that begin alike, such as the few-shot examples of one subject: what they share is computed once.

Standard library only: the client groups its requests by it, the server its passes.
"""

from __future__ import annotations

from collections.abc import Sequence

MIN_SHARED_TOKENS = 64  # for less, another pass costs more than it saves


def families(contexts: Sequence[Sequence[int]]) -> list[tuple[int, list[int]]]:
    """(tokens shared, indexes) of the contexts that share at least MIN_SHARED_TOKENS; 0 where one stands alone.

    What is shared leaves every member a token of its own: the one whose next token is asked for.
    """
    order = sorted(range(len(contexts)), key=lambda index: tuple(contexts[index]))
    groups: list[tuple[int, list[int]]] = []
    for index in order:
        if groups:
            length, members = groups[-1]
            first, other = contexts[members[0]], contexts[index]
            most = min(len(first), len(other)) - 1  # the last of the shorter one is left out
            same = next((n for n in range(most) if first[n] != other[n]), most)
            if same >= MIN_SHARED_TOKENS:
                groups[-1] = (same if len(members) == 1 else min(length, same), [*members, index])
                continue
        groups.append((0, [index]))
    return groups
