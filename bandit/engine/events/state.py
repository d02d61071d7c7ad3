"""A learner's state as bytes: a JSON document and the arrays that it names, compressed.

Matrices are symmetric and hold 32-bit numbers in 64 bits (`posterior`), so that half of them as 32-bit numbers is all
of them. Numbers in the document are exact.
"""

import json
from typing import Any
from zlib import compress, decompress, error

import numpy as np

from bandit.errors import CorruptModel

MAGIC = b"events1\n"
_ARRAY = "$array"
_LEVEL = 3  # of compression: higher ones take far longer and save little


def packed(document: Any) -> bytes:
    """The document, with its arrays, as bytes."""
    arrays: list[bytes] = []
    text = json.dumps(_replaced(document, arrays), separators=(",", ":"), sort_keys=True).encode()
    head = len(text).to_bytes(8, "big")
    return MAGIC + compress(head + text + b"".join(arrays), _LEVEL)


def unpacked(state: bytes) -> Any:
    """What `packed` was given.

    Raises:
        CorruptModel: the bytes are no state.
    """
    if not state.startswith(MAGIC):
        raise CorruptModel(f"{len(state)} bytes do not begin as the state of event models")
    try:
        body = decompress(state[len(MAGIC) :])
        length = int.from_bytes(body[:8], "big")
        document = json.loads(body[8 : 8 + length])
        restored, rest = _restored(document, body[8 + length :])
    except (error, ValueError, KeyError, TypeError) as failure:
        raise CorruptModel(f"{len(state)} bytes do not load as the state of event models: {failure}") from failure
    if rest:
        raise CorruptModel(f"the state of event models has {len(rest)} bytes too many")
    return restored


def _replaced(value: Any, arrays: list[bytes]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(one, arrays) for key, one in sorted((_escaped(key), one) for key, one in value.items())}
    if isinstance(value, list | tuple):
        return [_replaced(one, arrays) for one in value]
    if isinstance(value, bytes):
        arrays.append(value)
        return {_ARRAY: "bytes", "length": len(value)}
    if isinstance(value, np.ndarray):
        is_matrix = value.ndim == 2 and value.dtype == np.float64
        kept = value[np.triu_indices(len(value))].astype(np.float32) if is_matrix else value
        # All first bytes, then all second ones: those of one place are alike, and compress.
        planes = np.frombuffer(kept.tobytes(), np.uint8).reshape(-1, kept.itemsize).T
        arrays.append(planes.tobytes())
        kind = "symmetric" if is_matrix else kept.dtype.str
        return {_ARRAY: kind, "shape": list(value.shape), "length": kept.nbytes}
    return value


def _escaped(key: str) -> str:
    """The key as it is written: a caller's names are keys too, and must not look like the mark of an array."""
    return f"${key}" if key.startswith("$") else key


def _unescaped(key: str) -> str:
    return key.removeprefix("$")


def _restored(value: Any, data: bytes) -> tuple[Any, bytes]:
    if isinstance(value, list):
        found = []
        for one in value:
            restored, data = _restored(one, data)
            found.append(restored)
        return found, data
    if not isinstance(value, dict):
        return value, data
    if _ARRAY not in value:
        document = {}
        for key in sorted(value):
            document[_unescaped(key)], data = _restored(value[key], data)
        return document, data
    body, rest = data[: value["length"]], data[value["length"] :]
    if len(body) < value["length"]:
        raise ValueError("an array ends too early")
    return (body if value[_ARRAY] == "bytes" else _array(value, body)), rest


def _array(value: dict[str, Any], body: bytes) -> Any:
    is_matrix = value[_ARRAY] == "symmetric"
    kind = np.dtype(np.float32 if is_matrix else value[_ARRAY])
    flat = np.frombuffer(body, np.uint8).reshape(kind.itemsize, -1).T.copy().view(kind).reshape(-1)
    if not is_matrix:
        return flat.reshape(value["shape"])
    whole = np.zeros(value["shape"])
    whole[np.triu_indices(len(whole))] = flat
    return whole + np.triu(whole, 1).T
