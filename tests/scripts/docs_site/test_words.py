"""No text that people read holds a word that was decided against."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.docs_site import words


def test_no_visible_text_holds_a_forbidden_word() -> None:
    assert words.wrong(words.visible()) == []


def test_sentences_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words.too_long(words.visible()) == []
    monkeypatch.setattr(words, "ROOT", tmp_path)
    file, sentence = tmp_path / "README.md", "word " * 25
    assert words.too_long(iter([(file, 1, f"{sentence}({sentence}): {sentence}")])) == []
    (line,) = words.too_long(iter([(file, 1, f"{sentence} end.")]))
    assert line.startswith("README.md:1: 26 words (at most 25): word word")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shown.py", 'raise ValueError(f"{file} was not told")'),
        ("shown.py", '@app.command()\ndef plan() -> None:\n    """Said by whoever runs it."""'),
        ("shown.py", '@method("x")\ndef x() -> None:\n    """Calibrates on nothing."""'),
        ("page.html", "<p>{{ so_many }} the <b>odds</b> are good</p>"),
        ("page.js", "element(place, `cells that keep up with ${told}`);"),
        ("page.md", "A server that keeps up.\n"),
    ],
)
def test_words_are_seen_where_people_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(words, "ROOT", tmp_path)
    assert len(words.wrong(_places(tmp_path / name))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hidden.py", 'def told() -> None:\n    """Told by nobody."""\n    return {"odds": 1}'),
        ("page.html", "{% if told %}<p data-odds='1'>{{ nobody }} reported</p>{% endif %}"),
        ("page.js", "const told = `${nobody} is reported`;"),
        ("page.md", "```\nnobody was told\n```\n"),
        ("page.md", "There is no sandbox, and the queue is no longer than before.\n"),
    ],
)
def test_words_of_code_are_no_texts(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert words.wrong(_places(tmp_path / name)) == []


def _places(file: Path) -> words.Iterator[words.Place]:
    if file.suffix == ".py":
        return words._of_python(file)
    return words._of_prose(file) if file.suffix == ".md" else words._of_template(file)


def _examples() -> list[tuple[str, str]]:
    rows = words.LANGUAGE.read_text(encoding="utf-8").partition("## Examples")[2].splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows if row.startswith("| ")]
    return [(before, after) for _, before, after in cells[1:]]


def test_examples_of_edited_sentences_are_kept() -> None:
    """Before is in no visible text, after in one."""
    files = {file for file, _, _ in words.visible()}
    texts = "\n".join(file.read_text(encoding="utf-8") for file in sorted(files))
    texts = " ".join(texts.replace('"\n', "\n").split())
    assert len(_examples()) >= 64
    assert [before for before, _ in _examples() if before in texts] == []
    assert [after for _, after in _examples() if after not in texts] == []
