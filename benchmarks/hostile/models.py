"""What a plan names: model folders, checkpoints (safetensors, GGUF, OpenVINO), traces, texts, prompts, data."""

from __future__ import annotations

import copy
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import yaml

from benchmarks.hostile.case import Case, Draw, any_value, change, damage
from benchmarks.hostile.places import odd_path, put_oddity
from tests.support.bad_plans.changes import GOOD
from tests.support.checkpoints import write_safetensors

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 4096,
    "vocab_size": 8,
    "hidden_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 24,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "text_config": {"vocab_size": 8},
    "dtype": "float16",
    "eos_token_id": 1,
    "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "config_groups": {}},
}
HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "model.layers.0.mlp.down_proj.weight": {"dtype": "F16", "shape": [96, 192], "data_offsets": [0, 36864]},
    "model.norm.weight": {"dtype": "F16", "shape": [96], "data_offsets": [36864, 37056]},
}
TOKENIZER = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ messages }}"}
INDEX = {"metadata": {"total_size": 1}, "weight_map": {"model.norm.weight": "model.safetensors"}}


FILES = (
    "config.json",
    "config.json",
    "model.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
)


def models(draw: Draw, folder: Path) -> Case:
    """A model's folder with one file that is damaged, or nothing usual."""
    about = _damage_model(folder / "tiny", draw, quantized=False)
    return _plan(folder, GOOD, about)


def checkpoints(draw: Draw, folder: Path) -> Case:
    """A finished checkpoint that is none: of safetensors, GGUF or OpenVINO."""
    shutil.copytree(folder / "tiny", folder / "made")
    way = draw.randrange(3)
    if way == 0:
        about = _damage_model(folder / "made", draw, quantized=True)
    elif way == 1:
        (folder / "made" / "model.safetensors").unlink()
        content, about = _gguf(draw)
        (folder / "made" / "model.gguf").write_bytes(content)
    else:
        (folder / "made" / "model.safetensors").unlink()
        (folder / "made" / "openvino_model.bin").write_bytes(b"\x00" * 64)
        content, about = _xml(draw)
        (folder / "made" / "openvino_model.xml").write_bytes(content)
    engine = ("transformers", "llama_cpp", "openvino")[way]
    plan = {
        **GOOD,
        "methods": [{"method": "none"}, {"method": "existing", "parameters": {"checkpoint": "made"}}],
        "engines": [{"engine": draw.choice((engine, "vllm"))}],
    }
    return _plan(folder, plan, about)


def _damage_model(model: Path, draw: Draw, *, quantized: bool) -> str:
    config = copy.deepcopy(CONFIG)
    if not quantized:
        del config["quantization_config"]
    (model / "config.json").write_text(json.dumps(config))
    name = draw.choice(FILES)
    file = model / name
    if draw.random() < 0.15:
        return put_oddity(file, draw)
    if name == "model.safetensors":
        return _damage_weights(file, draw)
    documents = {"config.json": config, "tokenizer_config.json": TOKENIZER, "model.safetensors.index.json": INDEX}
    if name == "tokenizer.json":
        document = json.loads(file.read_text())
    else:
        document = copy.deepcopy(documents.get(name, {"chat_template": "{{ messages }}", "temperature": 1}))
    if draw.random() < 0.6:
        changed, about = change(document, draw)
        file.write_bytes(_json(changed))
    else:
        content, about = damage(_json(document), draw)
        file.write_bytes(content)
    return f"{name}: {about}"


def _json(document: Any) -> bytes:
    return json.dumps(document).encode(errors="surrogatepass")


def _damage_weights(file: Path, draw: Draw) -> str:
    if draw.random() < 0.5:
        changed, about = change(copy.deepcopy(HEADER), draw)
        text = _json(changed)
        file.write_bytes(struct.pack("<Q", draw.choice((len(text),) * 5 + (0, 2**40, 2**64 - 1))) + text + bytes(37056))
        return f"header: {about}"
    write_safetensors(file, {"model.norm.weight": ("F16", (96,), 192)})
    content, about = damage(file.read_bytes(), draw)
    file.write_bytes(content)
    return f"{file.name}: {about}"


def _gguf(draw: Draw) -> tuple[bytes, str]:
    """A GGUF header: key-value pairs and tensors, of types that are none among them."""
    value_type, tensor_type = draw.choice((0, 4, 8, 9, 12, 13, 99)), draw.choice((0, 1, 2, 8, 31, 39, 999, 2**31))
    values = {0: b"\x01", 4: struct.pack("<I", 7), 8: _text("llama"), 9: struct.pack("<IQ", 8, 2**40)}
    pair = _text(draw.choice(("general.architecture", "x"))) + struct.pack("<I", value_type)
    pair += values.get(value_type, b"\x00" * 8)
    shape = draw.choice(((32,), (2**63,), (0,), (1,) * 99))
    tensor = _text("token_embd.weight") + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    tensor += struct.pack("<IQ", tensor_type, draw.choice((0, 2**60)))
    counts = struct.pack("<QQ", draw.choice((1, 2**60)), draw.choice((1, 2**60)))
    header = draw.choice((b"GGUF", b"GGUF", b"FUGG")) + struct.pack("<I", draw.choice((3, 2, 1, 99, 2**24)))
    content, about = header + counts + pair + tensor + bytes(64), f"gguf of types {value_type} and {tensor_type}"
    return damage(content, draw) if draw.random() < 0.5 else (content, about)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


XML = """<?xml version="1.0" encoding="CODE"?>{0}<net name="m" version="11"><layers>
<layer id="0" name="x" type="Const"><data element_type="u4" shape="96, 32" offset="0" size="1536"/></layer></layers>
<rt_info><nncf><weight_compression><mode value="int4_asym"/><group_size value="32"/></weight_compression></nncf>
</rt_info></net>"""
DOCTYPES = (
    "",
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>',
    '<!DOCTYPE x SYSTEM "file:///dev/zero">',
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
)


def _xml(draw: Draw) -> tuple[bytes, str]:
    code = draw.choice(
        ("utf-8", "utf-16", "utf-32", "utf-7", "ebcdic-cp-us", "x", "", "idna", "rot13", "zlib", "utf-8")
    )
    text = XML.replace("{0}", draw.choice(DOCTYPES)).replace("CODE", code)
    way = draw.randrange(4)
    if way == 0:
        return damage(text.encode(), draw)
    if way == 1:
        text = text.replace("u4", draw.choice(("u99", "", "&a;", "&c;"))).replace(
            "96, 32", draw.choice(("", "x", "-1"))
        )
    if way == 2:
        text = text.replace("<layers>", "<layers>" + "<layer>" * draw.choice((10, 100_000)))
    real = draw.choice(("utf-8", "utf-16", "utf-32"))
    return text.encode(real), f"XML said to be {code} in {real}"


TRACE = {"timestamp": 0, "input_length": 8, "output_length": 4, "hash_ids": [0]}
NUMBERS = ("1e400", "1" + "0" * 400, "-1", "1" * 5000, "NaN", "Infinity", "1e308", "true", '"1"', "null", "0.5", "[1]")


def traces(draw: Draw, folder: Path) -> Case:
    """A trace with numbers that none has, in either form, or damaged."""
    lines = []
    for number in range(20):
        row = {**TRACE, "timestamp": 1000 * number}
        lines.append(json.dumps(row))
    way, at = draw.randrange(4), draw.randrange(20)
    name = "trace.jsonl"
    if way == 0:
        key = draw.choice(list(TRACE))
        texts = {**{name: json.dumps(value) for name, value in TRACE.items()}, key: draw.choice(NUMBERS)}
        lines[at] = about = "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items()) + "}"
    elif way == 1:
        lines[at] = about = json.dumps(any_value(draw))
    elif way == 2:
        name = "trace.csv"
        lines = [f"2024-05-10 00:00:{second:02}.0+00:00,8,4" for second in range(20)]
        times = ("0001-01-01 00:00:00+23:59", "9999-12-31T23:59:59-23:59", "x", "", "2024-02-31", "1" * 5000)
        about = ",".join((draw.choice(times), draw.choice(NUMBERS), draw.choice(NUMBERS)))
        lines[at] = draw.choice((about, about + ",1" * 9, '"' + "x" * 200_000))
        lines.insert(0, draw.choice(("TIMESTAMP,ContextTokens,GeneratedTokens", "TIMESTAMP", "", "a,a,a")))
    content = "\n".join(lines).encode()
    if way == 3:
        content, about = damage(content, draw)
    (folder / name).write_bytes(content)
    load = {"trace": name, "trace_speedup": draw.choice((1.0, 1000.0, 1e-300))}
    return _plan(folder, {**GOOD, "load": [load]}, f"{name}: {about:.60}")


def named_files(draw: Draw, folder: Path) -> Case:
    """Paths in a plan that lead to nothing usual: texts, prompts, templates, data, interpreters, models."""
    path, plan = odd_path(draw, folder), copy.deepcopy(GOOD)
    way = draw.randrange(9)
    if way == 0:
        plan["models"] = [path]
    elif way == 1:
        plan["calibration"] = {"text": path}
    elif way == 2:
        plan["load"] = [{**GOOD["load"][0], "prompts": path}]
    elif way == 3:
        plan["load"] = [{"trace": path}]
    elif way == 4:
        plan["data"] = path
    elif way == 5:
        plan["kl_divergence"] = [{"prompts": path}]
    elif way == 6:
        plan["environments"] = {"transformers": {"python": path}}
    elif way == 7:
        plan["methods"] = [{"method": "none"}, {"method": "existing", "parameters": {"checkpoint": path}}]
    else:
        plan["environments"] = {"transformers": {"python": "/usr/bin/python3", "site": [path]}}
    return _plan(folder, plan, f"{way}: {path!r:.60}")


def named_texts(draw: Draw, folder: Path) -> Case:
    """Calibration texts, prompts and data roots whose content is damaged."""
    plan, way = copy.deepcopy(GOOD), draw.randrange(3)
    if way == 0:
        content, about = damage(b"a b c d " * 2000, draw)
        (folder / "text.txt").write_bytes(content)
    elif way == 1:
        lines = ['{"prompt": "a b c d e f a b c d"}'] * 30
        lines[draw.randrange(30)] = about = json.dumps(draw.choice((any_value(draw), {"prompt": any_value(draw)})))
        content = "\n".join(lines).encode()
        if draw.random() < 0.5:
            content, about = damage(content, draw)
        (folder / "prompts.jsonl").write_bytes(content)
        plan["load"] = [{**GOOD["load"][0], "prompts": "prompts.jsonl"}]
        plan["kl_divergence"] = [{"prompts": "prompts.jsonl", "count": 2, "length": 4, "positions": 2}]
    else:
        root = folder / "root" / "allenai" / "ai2_arc"
        root.mkdir(parents=True)
        content, about = damage(b"---\nconfigs:\n- config_name: ARC-Easy\n  data_files: x\n---\n", draw)
        (root / "README.md").write_bytes(content)
        if draw.random() < 0.5:
            about = put_oddity(root / "README.md", draw)
        plan["data"] = "root"
    return _plan(folder, plan, f"{way}: {about:.60}")


def _plan(folder: Path, plan: Any, about: str) -> Case:
    text = yaml.dump(plan, sort_keys=False, allow_unicode=True)
    (folder / "plan.yaml").write_bytes(text.encode(errors="surrogatepass"))
    return Case(("plan", "plan.yaml"), about)
