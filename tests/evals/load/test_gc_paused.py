"""The garbage collector stands still for a block, and does afterwards what it did before."""

from __future__ import annotations

import gc

import pytest

from evals.load.gc_paused import no_collection


def test_it_goes_on_afterwards_even_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), no_collection():
        print(1 / gc.isenabled())
    assert gc.isenabled()


def test_a_block_in_a_block_ends_with_the_outer_one() -> None:
    with no_collection():
        with no_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
