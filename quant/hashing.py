"""Digests of data."""

from __future__ import annotations

import hashlib
import json

from quant.canonical_json import plain


def digest(value: object) -> str:
    """SHA-256, in hexadecimal, of `value` written as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=plain).encode()).hexdigest()
