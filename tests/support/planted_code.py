"""A model's folder with code in it that would leave a mark, as whoever publishes a model may plant it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import yaml

from evals.schema.run_file import read_run
from quant.canonical_json import write_json

MARK = "somebody's code ran"
EVIL = "from pathlib import Path\nPath({mark!r}).touch()\nclass Evil:\n    from_pretrained = classmethod(lambda cls, *a, **k: cls())\n"
CODE = ("evil.py", "tokenizer.py", "tokenizer_evil.py", "tokenizer.pkl", "tokenizer.so", "vocab.py", "chat_template.sh")


def plant_code(folder: Path) -> Path:
    """Plant code beside the model's files, and a link to a key outside. The mark that the code would leave."""
    mark = folder.parent / MARK
    for name in CODE:
        (folder / name).write_text(EVIL.format(mark=str(mark)))
    key = folder.parent / "id_ed25519"
    key.write_text("PRIVATE KEY")
    (folder / "tokenizer.key").symlink_to(key)
    for name, classes in {
        "config.json": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Evil", None]},
    }.items():
        file = folder / name
        result = json.loads(file.read_text()) | {"auto_map": classes}
        if name == "tokenizer_config.json":
            result["tokenizer_class"] = "HybridDNATokenizer"
        file.write_text(json.dumps(result))
    return mark


def foreign(folder: Path) -> list[str]:
    """What of the planted is in `folder`: names, and whatever holds the key's text."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if file.name in CODE or b"PRIVATE KEY" in file.read_bytes()]


def planted_interpreter(folder: Path) -> tuple[Path, Path]:
    """A stand-in for Python, and the file that it writes when it is started."""
    program, marker = folder / "planted-python", folder / "it-ran"
    program.write_text(f'#!/bin/sh\ntouch {marker}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program, marker


def somebodys_run(run: Path) -> tuple[Path, Path, Path]:
    """A copy of a run of `fake_sweep` that brings its own plan, an interpreter and what to type along: its folder, the
    interpreter, and the file that this writes when it is started.
    """
    theirs, (python, marker) = run.parent / "theirs", planted_interpreter(run.parent)
    shutil.copytree(run, theirs)
    file, about = theirs / "plan.yaml", read_run(theirs)
    plan = yaml.safe_load(about["plan"]) | {"environments": {"transformers": {"python": str(python)}}}
    for name in ("tiny", "root"):
        shutil.copytree(run.parent.parent / name, theirs / name)
    file.write_text(yaml.safe_dump(plan))
    write_json(theirs / "sweep.json", {**about, "file": str(file), "plan": file.read_text(), "command": "rm -rf ~"})
    return theirs, python, marker
