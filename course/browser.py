"""What the interactive pages load after a click: runtimes from npm, and the shipped model as ONNX.

    prepare(docs) -> docs/assets/runtimes/{ort,pyodide,reveal}/...     from npm, by docs/runtimes/package-lock.json with its hashes
                     docs/assets/model/{unet,decoder,text}.onnx, tokenizer.json, manifest.json     exported from the weights
                     docs/assets/judge/{judge,algebra}.zip      course.equations, lark, the written checks with their sealed keys; sympy

The folders are made at build and ignored by git. Where npm or onnx is missing, or the network is, the site is built without: the pages
show the pictures drawn at build, and say why. Weights that float16 holds exactly are stored in it, which halves the download and
changes no number.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

RUNTIMES = {                                        # what is served, by the folder it goes to
    "ort": ("onnxruntime-web/dist/ort.wasm.bundle.min.mjs", "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"),
    "pyodide": ("pyodide/pyodide.mjs", "pyodide/pyodide.asm.mjs", "pyodide/pyodide.asm.wasm", "pyodide/python_stdlib.zip",
                "pyodide/pyodide-lock.json"),
    "reveal": ("reveal.js/dist/reveal.js", "reveal.js/dist/reveal.css", "reveal.js/dist/plugin/notes.js"),
}
CHECKS = ("__init__", "answers", "derivations", "errors", "forms", "numbers", "sealed", "written")          # of course.grading
VERSION = 1                                         # of the exported files' layout


def prepare(docs: Path, cache: Path) -> list[str]:
    """Fill both folders. Returns what was left out and why, in a line each; nothing is left half-written."""
    problems = []
    for what, make in (("runtimes", runtimes), ("model", model), ("judge", judge)):
        target = docs / "assets" / what
        try:
            made = make(docs, cache / "browser")
        except (ImportError, OSError, subprocess.SubprocessError, ValueError) as error:
            shutil.rmtree(target, ignore_errors=True)
            problems.append(f"Without the {what} of the interactive pages: {error}")
            continue
        stamp = made / "manifest.json"
        if not (target / "manifest.json").exists() or (target / "manifest.json").read_bytes() != stamp.read_bytes():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(made, target)
    return problems


def runtimes(docs: Path, cache: Path) -> Path:
    """The folder with the runtimes named in RUNTIMES, installed once for each lock file."""
    lock = docs / "runtimes" / "package-lock.json"
    out = cache / f"runtimes-{_digest(lock.read_bytes())}"
    if out.exists():
        return out
    if not shutil.which("npm"):
        raise FileNotFoundError("npm is not installed (Debian, Ubuntu: apt install npm)")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(docs / "runtimes" / name, work)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise OSError(f"npm ci failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        ready = work / "ready"
        for folder_name, files in RUNTIMES.items():
            (ready / folder_name).mkdir(parents=True)
            for file in files:
                shutil.copy(work / "node_modules" / file, ready / folder_name)
        _write_manifest(ready)
        ready.rename(out)
    return out


def model(docs: Path, cache: Path) -> Path:
    """The folder with the shipped model as ONNX, exported once for each set of weights."""
    from course.components import locate

    weights = Path(locate("emoji"))
    out = cache / f"model-{_digest((weights / 'sha256.txt').read_bytes() + bytes([VERSION]))}"
    if out.exists():
        return out
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("onnx is not installed (pip install -e '.[browser]')") from error
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        ready = Path(folder) / "ready"
        ready.mkdir()
        export(weights, ready)
        _write_manifest(ready)
        ready.rename(out)
    return out


def judge(docs: Path, cache: Path) -> Path:
    """The folder with the judge as Pyodide unpacks it: the very files of this package, and the libraries they import. With it come the
    checks of the written tasks; what those ask for is sealed, as in the student edition: nobody reads a key by accident."""
    import lark
    import mpmath
    import sympy

    from course.grading.sealed import seal
    from course.grading.written import load_answers

    package = Path(__file__).parent
    keys = seal(load_answers(package.parent / "tests" / "exercises" / "answers")).encode()
    ours = [package / "__init__.py", *sorted(path for path in (package / "equations").rglob("*")
                                             if path.suffix in {".py", ".lark", ".toml"} and path.stem not in {"pages", "cards"})]
    ours += [package / "names.py", *(package / "grading" / f"{name}.py" for name in CHECKS)]
    versions = " ".join(each.__version__ for each in (lark, mpmath, sympy))
    out = cache / f"judge-{_digest(versions.encode() + keys + b''.join(path.read_bytes() for path in ours))}"
    if out.exists():
        return out
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        ready = Path(folder) / "ready"
        ready.mkdir()
        (work := Path(folder) / "keys").write_bytes(keys)
        files = {str(path.relative_to(package.parent)): path for path in ours} | {"answers/ch.sealed": work}
        _zip(ready / "judge.zip", files | _sources(lark))
        _zip(ready / "algebra.zip", _sources(sympy) | _sources(mpmath))
        _write_manifest(ready)
        ready.rename(out)
    return out


def _sources(library: Any) -> dict[str, Path]:
    """The Python files and grammars of an installed package, without its tests, by their name in an archive."""
    root = Path(library.__file__).parent
    files = [path for path in sorted(root.rglob("*")) if path.suffix in {".py", ".lark", ".toml"}]
    return {str(path.relative_to(root.parent)): path for path in files
            if not {"tests", "benchmarks", "__pycache__", "__pyinstaller"} & set(path.relative_to(root).parts)}


def _zip(target: Path, files: dict[str, Path]) -> None:
    """An archive that is the same for the same files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)


def export(weights: Path, out: Path) -> None:
    """unet.onnx (x (B, 4, 8, 8), t (1,), context (B, L, D)) -> eps; text.onnx ids (B, L) -> (B, L, D); decoder.onnx x_0 -> picture
    (B, 3, H, W) in [-1, 1], its latents in the U-Net's scale; tokenizer.json: vocab and merges of the byte-pair tokenizer."""
    import torch

    from course.components import load_components

    parts = load_components(str(weights), device="cpu", dtype=torch.float32)
    scale = parts.vae.config.scaling_factor

    class As(torch.nn.Module):
        """A part of the model with another call."""

        def __init__(self, part: Any, call: Any):
            super().__init__()
            self.part, self.call = part, call

        def forward(self, *inputs: Any) -> Any:
            return self.call(self.part, *inputs)

    unet = As(parts.unet, lambda part, x, t, context: part(x, t, encoder_hidden_states=context, return_dict=False)[0])
    text = As(parts.text_encoder, lambda part, ids: part(ids)[0])
    decoder = As(parts.vae, lambda part, x: part.decode(x / scale, return_dict=False)[0])

    length = parts.tokenizer.model_max_length
    size, width = parts.unet.config.sample_size, parts.unet.config.cross_attention_dim
    x = torch.randn(2, parts.unet.config.in_channels, size, size)
    for name, module, arguments, inputs, dynamic in (
        ("unet", unet, (x, torch.tensor([500.0]), torch.randn(2, length, width)), ["x", "t", "context"], ["x", "context", "out"]),
        ("text", text, (torch.zeros(2, length, dtype=torch.long),), ["ids"], ["ids", "out"]),
        ("decoder", decoder, (x,), ["x"], ["x", "out"]),
    ):
        path = out / f"{name}.onnx"
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")         # of branches on shapes, which are fixed here; the pictures are compared with Python's
            torch.onnx.export(module.eval(), arguments, str(path), input_names=inputs, output_names=["out"], opset_version=18, dynamo=False,
                              dynamic_axes={axis: {0: "batch"} for axis in dynamic})
        _halve(path)
    tokenizer = weights / "tokenizer"
    merges = [line for line in (tokenizer / "merges.txt").read_text(encoding="utf-8").splitlines()[1:] if line]
    about = {"vocab": json.loads((tokenizer / "vocab.json").read_text(encoding="utf-8")), "merges": merges, "length": length}
    (out / "tokenizer.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _halve(path: Path) -> None:
    """Store the weights that float16 holds exactly in float16, with a cast back when they are loaded."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    graph_model = onnx.load(str(path))
    graph, casts = graph_model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 64 or not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(graph_model)
    onnx.save(graph_model, str(path))


def _write_manifest(folder: Path) -> None:
    """manifest.json: the size and the hash of every file."""
    files = {str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
             for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / "manifest.json").write_text(json.dumps(files, indent=1), encoding="utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
