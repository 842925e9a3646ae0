"""`python -m scripts.docs_site.words`: words that no visible text may hold, and what to write instead.

Visible is what people read in the five packages (texts in code, docstrings that the command line prints, the page's
templates and scripts), the sentences of metrics and plan keys, README, CONTRIBUTING, CHANGELOG and docs/,
without code. Ends with 1 where a word is there. `docs/developer/language.md` shows the table.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from engines.runtime.own_packages import ROOT

NO = "(?<!there )(?:is|are|was|were) no (?!longer|more|larger|sooner|surer|safer|better)"
# what is shown, the regular expression of whole words, and what to write instead
WORDS = (
    ("told, tells", "told|tells?", "reported, unknown; reports, shows"),
    ("cannot be told from", "(?:cannot|can) be told from", "is not significantly different from (95 % CI)"),
    ("promised", "promise[sd]?", "SLO; nominal; guarantees"),
    ("surely keeps", "surely", "meets (95 % CI)"),
    ("odds", "odds", "probability of being Pareto-optimal"),
    ("the same questions", "same questions", "paired; the same items"),
    ("how close the predictions are", "how close the predictions", "KL divergence from the baseline"),
    ("one wave", "one wave", "no steady state: all N requests start together"),
    ("keeps up, backlog", "backlog|keeps? up", "saturated; the queue grows"),
    ("handed out again", "handed out again", "rescheduled"),
    ("silence of 90 s", "silence of", "worker heartbeat lost"),
    ("calibrates", "calibrates", "needs calibration"),
    ("why not another", "why not", "why the others were not chosen; the reason"),
    ("but for", "but for", "except for"),
    ("anew", "anew", "again"),
    ("nobody, whoever", "nobody|whoever", "the process, the user: name the subject"),
    ("held against", "hold against|held against", "compared with"),
    ("is no file", NO, "is not a file"),
    ("so many, merely, rather too", "so many|merely|rather too", "this many, N; only; too"),
    ("meanwhile", "meanwhile", "at the same time; during the measurement"),
    ("is gone", "(?:is|are) gone", "is missing"),
    ("as tables name it", "as tables name it", "by its name in tables"),
    ("not foreseen", "not foreseen", "unexpected"),
    ("is wanted", "(?:is|are) wanted", "is needed"),
    ("goes on where", "goes? on (?:where|with (?:the parts|more))", "continues"),
    ("lets it go", "lets? (?:it|them) go", "frees it"),
    ("1 cells", "1 (?:cells|entries|tasks|threads|rounds|runs|questions|files)", "1 cell (`quant.errors.counted`)"),
)
PATTERNS = [(re.compile(rf"\b(?:{words})(?!\w)", re.IGNORECASE), instead) for _, words, instead in WORDS]
PACKAGES = ("quant", "engines", "evals", "reports", "flows")
TEMPLATES = ROOT / "reports" / "output" / "templates"
SENTENCES = (ROOT / "reports/metrics/definitions/metrics.toml", ROOT / "scripts/plan_keys.yaml")
LANGUAGE = ROOT / "docs" / "developer" / "language.md"  # which shows the words
MOST_WORDS = 25  # of a sentence on these pages
GUIDES = ("README.md", "docs/tutorials/", "docs/how-to/", "reports/output/templates/")
ASIDE = re.compile(r"\s*\([^()]*\)")  # what stands in brackets is no part of a sentence
END = re.compile(r"(?<=[.:;?!])\s")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PRINTED = re.compile(r"^(?:app\.(?:command|callback)|method|engine)\b")  # decorators of what `--help` or a list prints
TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
CODE = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\$\{[^}]*\}|<[^>]*>")
CELL_END = re.compile(r"</(?:th|td|dt|dd)>")
Place = tuple[Path, int, str]  # a file, a line and its text


def visible() -> Iterator[Place]:
    """All texts that people read."""
    for file in (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))):
        yield from _of_python(file)
    for file in sorted([*TEMPLATES.glob("*.html"), *TEMPLATES.glob("*.js")]):
        yield from _of_template(file)
    for file in (*SENTENCES, *(ROOT / page for page in PAGES), *sorted((ROOT / "docs").rglob("*.md"))):
        if file != LANGUAGE:
            yield from _of_prose(file)


def _of_python(file: Path) -> Iterator[Place]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    hidden = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        if not any(PRINTED.match(ast.unparse(use)) for use in getattr(node, "decorator_list", ()))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield from [(file, node.lineno, node.value)] if " " in node.value else []


def _of_template(file: Path) -> Iterator[Place]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if file.suffix == ".html":
            yield file, number, CODE.sub(" ", CELL_END.sub("; ", line))
        else:
            texts = (CODE.sub(" ", match[1] or match[2] or "") for match in TEXT.finditer(line))
            yield from ((file, number, text) for text in texts if "===" not in text)  # code in a text


def _of_prose(file: Path) -> Iterator[Place]:
    in_code = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield file, number, line


def wrong(places: Iterator[Place]) -> list[str]:
    """A line for each word that is there."""
    return [
        f"{file.relative_to(ROOT)}:{line}: '{match[0]}': write {instead}"
        for file, line, text in places
        for pattern, instead in PATTERNS
        if (match := pattern.search(text))
    ]


def too_long(places: Iterator[Place]) -> list[str]:
    """A line for each sentence of the guides and of the page that has more than MOST_WORDS words."""
    return [
        f"{file.relative_to(ROOT)}:{line}: {count} words (at most {MOST_WORDS}): {sentence:.60}…"
        for file, line, text in places
        if str(file.relative_to(ROOT)).startswith(GUIDES) and not text.startswith("|")
        for sentence in END.split(ASIDE.sub("", text))
        if (count := len(sentence.split())) > MOST_WORDS
    ]


def words_table() -> str:
    """Markdown: each word, and what to write instead."""
    return "\n".join(["| not | but |", "|---|---|", *(f"| {shown} | {instead} |" for shown, _, instead in WORDS)])


def main() -> int:
    problems = [*wrong(visible()), *too_long(visible())]
    print("\n".join(problems) or "no visible text has a forbidden word, and no sentence of the guides is too long")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
