"""A model's folder with code in it that would leave a mark, as whoever publishes a model may plant it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

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
