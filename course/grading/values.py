"""Values that may cross between a check and a student's function: data, never code.

A value is a tensor, an array, a number, a string, None, or a list, tuple or dict of those; a check may also pass a
callable, a torch.Generator, or a types.SimpleNamespace of values. It becomes a JSON tree and one run of raw bytes::

    encode(value) -> (tree, buffers)        decode(tree, bytes) -> value

What is not data (a tensor subclass, a sparse or meta tensor, any object) becomes an `Opaque` that says what it was.
The confined worker loads this file by path, so it imports nothing of the course.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

MAX_NODES = 20_000
MAX_DEPTH = 20
MAX_BYTES = 64 << 20
MAX_TEXT = 50_000          # characters of all strings together
MAX_AXES = 64
DTYPES = {str(d).removeprefix("torch."): d for d in (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128)}
_ARRAYS = {"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128"}
_KEYS = (str, int, float, bool, type(None))


class NotData(ValueError):
    """A tree that `decode` will not build."""


class Opaque:
    """Something that is not data, known by a description only."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __repr__(self) -> str:
        return f"<{self.description}>"


class Part(types.SimpleNamespace):
    """A namespace that can be called: a part of a model, as a check passes it. The call goes to its attribute `call`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)


def plain(text: Any, limit: int = 500) -> str:
    """`text` on one line in printable ASCII, at most `limit` characters: safe in a log, a report and a terminal."""
    try:
        line = " ".join(str(text)[:4 * limit].split())
        line = line.encode("ascii", "backslashreplace").decode("ascii")
    except Exception:
        return "(no readable text)"
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    return line if len(line) <= limit else line[:limit - 3] + "..."


def describe(value: Any) -> str:
    """What a value is, in a few words: "a float32 tensor of shape (2, 3)"."""
    if isinstance(value, Opaque):
        return value.description
    if type(value) is torch.Tensor:
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if type(value) is np.ndarray:
        return f"a {value.dtype} numpy array of shape {value.shape}"
    if value is None:
        return "None"
    if type(value) in (bool, int, float):
        return f"the {type(value).__name__} {plain(repr(value), 40)}"
    if type(value) in (list, tuple, dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {plain(type(value).__name__, 60)}"


def encode(value: Any, callables: list[Callable] | None = None, limit: int = MAX_BYTES) -> tuple[dict, list[bytes]]:
    """A value as (tree, buffers). Callables are put into `callables` and sent as their index; without it they are opaque."""
    buffers: list[bytes] = []
    budget = [MAX_NODES, limit, MAX_TEXT]

    def buffer(data: bytes) -> None:
        buffers.append(data)

    def tensor(x: torch.Tensor) -> dict:
        wants = x.requires_grad          # whether gradients are recorded is part of a value; what they lead to is not
        name = str(x.dtype).removeprefix("torch.")
        if x.is_nested:
            return opaque("a nested tensor")
        if x.layout is not torch.strided:
            return opaque(f"a tensor with layout {str(x.layout).removeprefix('torch.')}")
        if x.device.type != "cpu":
            return opaque(f"a tensor on the device {x.device.type}")
        if name not in DTYPES:
            return opaque(f"a tensor of dtype {name}")
        size = x.numel() * x.element_size()
        if size > budget[1]:
            return opaque(f"a tensor of shape {plain(tuple(x.shape), 100)}, which is more data than may be returned")
        budget[1] -= size
        try:
            x = x.detach().resolve_conj().resolve_neg().contiguous()
            data = x.reshape(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b""
        except RuntimeError:          # a tensor of zeros without memory, one that is only valid inside vmap, ...
            return opaque("a tensor whose values cannot be read")
        buffer(data)
        return {"t": "tensor", "dtype": name, "shape": list(x.shape), **({"grad": True} if wants else {})}

    def opaque(description: str) -> dict:
        return {"t": "opaque", "v": plain(description, 200)}

    def walk(v: Any, depth: int) -> dict:
        budget[0] -= 1
        if budget[0] < 0 or depth > MAX_DEPTH:
            return opaque("a structure too large or too deep to return")
        if isinstance(v, np.generic) and type(v).__module__ == "numpy":
            v = v.item()          # a number is a number, whoever computed it
        kind = type(v)
        if kind is torch.Size:
            v, kind = tuple(v), tuple
        if v is None or kind is bool:
            return {"t": "plain", "v": v}
        if kind is int:
            return {"t": "plain", "v": v} if abs(v) < 1 << 63 else opaque("an int beyond 64 bits")
        if kind is float:
            return {"t": "plain", "v": v} if math.isfinite(v) else {"t": "float", "v": str(v)}
        if kind is str:
            budget[2] -= len(v)
            return {"t": "plain", "v": v} if budget[2] >= 0 else opaque(f"a str of {len(v)} characters, too long to return")
        if kind is torch.Tensor:
            return tensor(v)
        if kind is np.ndarray:
            if v.dtype.name not in _ARRAYS or v.nbytes > budget[1]:
                return opaque(f"a numpy array of dtype {v.dtype.name} and shape {plain(v.shape, 100)}")
            budget[1] -= v.nbytes
            buffer(v.astype(v.dtype.newbyteorder("<")).tobytes())
            return {"t": "array", "dtype": v.dtype.name, "shape": list(v.shape)}
        if kind in (list, tuple, dict) and len(v) > budget[0]:
            return opaque(f"a {kind.__name__} of {len(v)}, too many to return")
        if kind in (list, tuple):
            return {"t": kind.__name__, "v": [walk(item, depth + 1) for item in v]}
        if kind is dict and all(type(key) in _KEYS for key in v):
            return {"t": "dict", "v": [[walk(k, depth + 1), walk(item, depth + 1)] for k, item in v.items()]}
        if callables is not None:
            if kind is torch.Generator:
                buffer(v.get_state().numpy().tobytes())
                return {"t": "generator", "n": len(buffers[-1])}
            if kind in (types.SimpleNamespace, Part):
                return {"t": "part" if kind is Part else "namespace", "v": {str(k): walk(item, depth + 1) for k, item in vars(v).items()}}
            if callable(v):
                callables.append(v)
                return {"t": "callable", "v": len(callables) - 1}
        if isinstance(v, torch.Tensor):
            return opaque(f"a {kind.__name__} (a subclass of Tensor), not a plain tensor")
        return opaque(f"an object of type {kind.__name__}")

    return walk(value, 0), buffers


def decode(tree: Any, data: bytes, make_callable: Callable[[int], Callable] | None = None) -> Any:
    """The value of (tree, bytes). Raises NotData for anything that `encode` would not have written.

    Callables, generators and namespaces are built only when `make_callable` is given: the worker gives it, the grader not.
    """
    offset = 0
    nodes = 0

    def take(size: int) -> bytearray:
        nonlocal offset
        if size > len(data) - offset:
            raise NotData("fewer bytes than announced")
        offset += size
        return bytearray(data[offset - size:offset])

    def shape_of(node: dict) -> list[int]:
        shape = node.get("shape")
        if type(shape) is not list or len(shape) > MAX_AXES or not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
            raise NotData("bad shape")
        return shape

    def walk(node: Any, depth: int) -> Any:
        nonlocal nodes
        nodes += 1
        if type(node) is not dict or nodes > 2 * MAX_NODES or depth > MAX_DEPTH + 1:
            raise NotData("bad node")
        kind, v = node.get("t"), node.get("v")
        if kind == "plain" and (v is None or type(v) in (bool, float, str) or (type(v) is int and abs(v) < 1 << 63)):
            return v
        if kind == "float" and v in ("nan", "inf", "-inf"):
            return float(v)
        if kind == "opaque" and type(v) is str:
            return Opaque(plain(v, 200))
        if kind == "tensor" and type(node.get("dtype")) is str and node["dtype"] in DTYPES:
            dtype, shape = DTYPES[node["dtype"]], shape_of(node)
            if not (count := math.prod(shape)):
                x = torch.empty(shape, dtype=dtype)
            elif dtype is torch.bool:          # any byte but 0 is True, whatever a worker sends
                x = torch.frombuffer(take(count), dtype=torch.uint8).reshape(shape) != 0
            else:
                x = torch.frombuffer(take(count * dtype.itemsize), dtype=dtype).reshape(shape)
            return x.requires_grad_() if node.get("grad") is True and (dtype.is_floating_point or dtype.is_complex) else x
        if kind == "array" and type(node.get("dtype")) is str and node["dtype"] in _ARRAYS:
            np_dtype, shape = np.dtype(node["dtype"]), shape_of(node)
            return np.frombuffer(take(math.prod(shape) * np_dtype.itemsize), np_dtype).reshape(shape)
        if kind in ("list", "tuple") and type(v) is list:
            items = [walk(item, depth + 1) for item in v]
            return items if kind == "list" else tuple(items)
        if kind == "dict" and type(v) is list and all(type(pair) is list and len(pair) == 2 for pair in v):
            pairs = [(walk(k, depth + 1), walk(item, depth + 1)) for k, item in v]
            if not all(type(k) in _KEYS for k, _ in pairs):
                raise NotData("bad key")
            return dict(pairs)
        if make_callable is not None:
            if kind == "generator":
                generator = torch.Generator()
                generator.set_state(torch.frombuffer(take(node["n"]), dtype=torch.uint8))
                return generator
            if kind in ("namespace", "part"):
                build = Part if kind == "part" else types.SimpleNamespace
                return build(**{k: walk(item, depth + 1) for k, item in v.items()})      # type: ignore[union-attr]
            if kind == "callable":
                return make_callable(v)      # type: ignore[arg-type]
        raise NotData("bad node")

    value = walk(tree, 0)
    if offset != len(data):
        raise NotData("more bytes than announced")
    return value
