from __future__ import annotations

from importlib.util import find_spec

import pytest

from engines.runtime import entry_points

MODULES = {name: value for name, value in vars(entry_points).items() if name.isupper()}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_a_module_that_is_started_by_name_exists_and_has_a_main(module: str) -> None:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    with open(spec.origin) as file:
        assert '__name__ == "__main__"' in file.read()
