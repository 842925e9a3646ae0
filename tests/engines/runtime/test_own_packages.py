from __future__ import annotations

from pathlib import Path

import pytest

from engines.runtime.own_packages import COPY_RECORD, PACKAGES, ROOT, import_folder, is_installed


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed bitfrontier beside a package of somebody else."""
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "site-packages"
    for name in (*PACKAGES, "torch", "bitfrontier-1.dist-info"):
        (folder / name / "__pycache__").mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f'"""{name}"""')
    return folder


def test_a_checkout_is_imported_from_where_it_is() -> None:
    assert not is_installed()
    assert import_folder() == ROOT


def test_of_an_installation_our_packages_are_copied(site_packages: Path) -> None:
    folder = import_folder(site_packages)
    assert {path.name for path in folder.iterdir()} == {*PACKAGES, COPY_RECORD}
    assert (folder / "engines" / "__init__.py").read_text() == '"""engines"""'
    assert not (folder / "engines" / "__pycache__").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_copy_belongs_to_its_content(site_packages: Path) -> None:
    first = import_folder(site_packages)
    import_folder.cache_clear()
    assert import_folder(site_packages) == first
    (site_packages / "quant" / "__init__.py").write_text("VERSION = 2")
    import_folder.cache_clear()
    assert import_folder(site_packages) != first


def test_what_lies_in_the_place_of_a_copy_is_not_overwritten(site_packages: Path) -> None:
    folder = import_folder(site_packages)
    (folder / COPY_RECORD).unlink()
    import_folder.cache_clear()
    with pytest.raises(OSError, match="not empty"):
        import_folder(site_packages)
