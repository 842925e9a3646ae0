from __future__ import annotations

from pathlib import Path

import pytest

from evals.data.local_root import DataError, dataset_folder


def test_a_root_that_may_not_be_searched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(DataError, match=r"a/b.*Permission denied.*Put the folder itself there"):
        dataset_folder(tmp_path, "a/b")
