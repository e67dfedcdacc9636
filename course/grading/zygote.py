"""The untrusted side. A process that has torch loaded and forks one confined worker each time the grader asks.

Run as `python -I -S -B zygote.py CONFIG FD`; it knows nothing of the course, of the checks or of any expected value. A
worker inherits its memory, so nothing may be here that a student's code should not see. Whatever a worker says about
itself (its errors, whether it changed its arguments) is a claim: it makes feedback, and never earns a point.

Between grader and worker: frames of a JSON header and raw bytes, see `frame` below and course/grading/values.py.
"""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import json
import os
import signal
import socket
import struct
import sys
import time
from typing import Any


def words(text: str) -> list[str]:
    return text.split()


PRELOADED = words(
    "__future__ abc array base64 bisect calendar cmath collections.abc concurrent.futures contextlib copy dataclasses "
    "datetime decimal difflib dis encodings.idna encodings.latin_1 encodings.ascii encodings.utf_16 encodings.utf_8_sig"
    " encodings.cp1252 encodings.unicode_escape encodings.raw_unicode_escape enum fractions functools "
    "graphlib hashlib heapq inspect itertools json keyword linecache math numbers operator pprint random re reprlib "
    "secrets statistics string struct textwrap time token tokenize traceback types typing unicodedata warnings zlib "
    "numpy.fft numpy.linalg numpy.random numpy.polynomial numpy.ma numpy.rec numpy.char torch.nn.functional torch.linalg "
    "torch.fft torch.special torch.autograd torch.distributions torch.optim torch.func scipy.linalg scipy.integrate "
    "argparse csv io locale logging os pathlib pickle platform queue threading timeit uuid")


# ---------------------------------------------------------------- frames

def read_exactly(fd: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(fd, min(1 << 20, size - len(data)))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)


def receive(fd: int) -> tuple[dict, bytes]:
    header, payload = struct.unpack("<II", read_exactly(fd, 8))
    return json.loads(read_exactly(fd, header)), read_exactly(fd, payload)


def frame(fd: int, header: dict, buffers: list[bytes] = ()) -> None:      # type: ignore[assignment]
    head = json.dumps(header).encode()
    payload = b"".join(buffers)
    view = memoryview(struct.pack("<II", len(head), len(payload)) + head + payload)
    while view:
        view = view[os.write(fd, view[:1 << 20]):]


# ---------------------------------------------------------------- the worker

def work(inbox: int, outbox: int, values: Any, rules: Any) -> None:
    """Answer `load` and `call` requests until the grader ends this process."""
    files: Any = rules.Files({})

    def said(error: BaseException, file: str) -> dict:
        """An exception as data, in characters that any terminal can show."""
        try:
            what = rules.explained(error, file, files.lines(file))
            return dict(what, text=values.plain(what["text"]), code=values.plain(what["code"], 120))
        except BaseException:
            return {"kind": "exception", "names": ["Exception"], "text": "(no readable text)", "line": 0, "code": ""}

    def load(request: dict, payload: bytes) -> dict:
        """Import one file; the first time all files of the submission come along, as they may import each other."""
        nonlocal files
        if request["files"]:
            sources, start = {}, 0
            for name, size in request["files"]:
                sources[name], start = payload[start:start + size], start + size
            files = rules.Files(sources)
        with rules.student_code():
            try:
                files.module(request["file"])
            except BaseException as error:
                return {"error": said(error, request["file"])}
        return {}

    def call(request: dict, payload: bytes) -> tuple[dict, list[bytes]]:
        function = vars(files.module(request["file"])).get(request["name"])
        if function is None:
            return {"error": {"kind": "missing"}}, []
        if not callable(function) or isinstance(function, rules.StandIn):
            return {"error": {"kind": "not a function"}}, []

        def callback(index: int) -> Any:
            def ask(*args: Any, **kwargs: Any) -> Any:
                tree, buffers = values.encode([list(args), kwargs])
                frame(outbox, {"id": request["id"], "callback": index, "tree": tree}, buffers)
                answer, data = receive(inbox)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return values.decode(answer["tree"], data, callback)
            return ask

        args, kwargs = values.decode(request["tree"], payload, callback)
        before, wrt = rules.snapshot([args, kwargs]), request.get("wrt")
        given = args if wrt is None else rules.traced(args, wrt)
        random = rules.random_state()
        with rules.student_code():
            try:
                if "seed" in request:
                    rules.seed(request["seed"])
                result = function(*given, **kwargs)
                tree, buffers = values.encode(result if wrt is None else [result, rules.gradient(result, given[wrt])])
            except BaseException as error:
                return {"error": said(error, request["file"])}, []
            finally:
                drawn = rules.random_state() != random
        return {"tree": tree, "mutated": rules.changed(before, rules.snapshot([args, kwargs])), "rng": drawn}, buffers

    while True:
        request, payload = receive(inbox)
        try:
            if request["op"] == "load":
                answer = load(request, payload)
                buffers: list[bytes] = []
            else:
                answer, buffers = call(request, payload)
        except BaseException as error:
            answer, buffers = {"error": said(error, request.get("file", ""))}, []
        frame(outbox, dict(answer, id=request["id"]), buffers)


def confine_worker(confine: Any, config: dict, request: dict) -> None:
    """Every layer that works here, in the order in which each still can be applied."""
    layers = config["layers"]
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir("/")
    ruleset = config.get("ruleset")
    if "rlimits" in layers:
        confine.rlimits(request["memory"], request["cpu"], config["output"], config["processes"] if "uid" in layers else 0)
    if "uid" in layers:
        confine.become(request["uid"])
        confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)          # a change of user clears it
    elif "capabilities" in layers:
        confine.drop_capabilities()
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    confine.prctl(confine.PR_SET_NO_NEW_PRIVS, 1)
    if "landlock" in layers:
        confine.landlock(ruleset)
    if "seccomp" in layers:
        confine.seccomp(no_open="landlock" not in layers)


# ---------------------------------------------------------------- the zygote

class Packages:
    """Finds a few installed packages and no others, so that what a worker may not read does not exist for it either."""

    def __init__(self, path: list[str], names: list[str]) -> None:
        self._path, self._names = path, frozenset(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if path is None and name in self._names:
            return importlib.machinery.PathFinder.find_spec(name, self._path, target)
        return None


def load_everything(torch: Any) -> None:
    """Without Landlock a worker cannot open a file, so what modules load at their first use is loaded here."""
    for name in words("einops sympy scipy.special scipy.interpolate scipy.stats cProfile configparser contextvars doctest fnmatch "
                      "getopt gzip html optparse quopri sched shutil tempfile trace unittest zipfile"):
        try:
            __import__(name)
        except ImportError:
            continue
    x = torch.ones(3)
    for transform in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        transform(lambda y: (y ** 3).sum())(x)
    torch.func.vmap(lambda y: 2 * y)(x), torch.autograd.functional.jacobian(lambda y: y ** 2, x)
    layer = torch.nn.Linear(3, 3)
    torch.func.functional_call(layer, dict(layer.named_parameters()), x)
    for optimiser in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        step = optimiser(layer.parameters(), lr=0.1)
        layer(x).sum().backward()
        step.step()


def load_beside(name: str) -> Any:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_{name}", path)
    module = importlib.util.module_from_spec(spec)      # type: ignore[arg-type]
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)      # type: ignore[union-attr]
    return module


def threads() -> int:
    with open("/proc/self/status") as status:
        return int(status.read().split("Threads:")[1].split()[0])


def sweep(worker: int) -> int:
    """Kill the worker and whatever it left behind; its wait status."""
    status = 0
    if os.getpid() == 1:
        os.kill(-1, signal.SIGKILL)          # our own pid namespace: everything in it is ours
    else:
        os.kill(worker, signal.SIGKILL)
    for _ in range(200):
        while True:
            try:
                pid, how = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if pid == 0:
                break
            if pid == worker:
                status = how
        try:          # orphans come to us, their subreaper
            with open(f"/proc/self/task/{os.getpid()}/children") as handle:
                for child in handle.read().split():
                    os.kill(int(child), signal.SIGKILL)
        except OSError:
            pass
        time.sleep(0.001)
    return status


def main() -> None:
    config = json.loads(sys.argv[1])
    control = socket.socket(fileno=int(sys.argv[2]))
    confine = load_beside("confine")
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)          # Ctrl-C is for the grader, which then closes our socket
    if "namespaces" in config["layers"]:
        confine.unshare(config["namespaces"])
        inner = os.fork()
        if inner:
            control.close()
            os.waitpid(inner, 0)
            os._exit(0)
        confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
        if config["cover"]:
            confine.uncover(config["cover"], config["mounts"])
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    if os.getpid() == 1:          # a private /proc, so that this pid namespace sees itself
        try:
            confine._mount("none", "/", None, confine.MS_REC | confine.MS_PRIVATE)
            confine._mount("proc", "/proc", "proc", 14)
        except OSError:
            pass

    sys.meta_path.append(Packages(config["path"], config["packages"]))
    for name in PRELOADED:
        __import__(name)
    import tempfile

    import numpy
    import torch
    tempfile.tempdir = "/tmp"          # a name that some parts of torch ask for; nothing can be written there
    values, rules = load_beside("values"), load_beside("rules")
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    x = torch.rand(1, 1, 8, 8, requires_grad=True)          # whatever is set up at first use is set up here, once
    torch.nn.functional.conv2d(torch.nn.functional.silu(x), torch.rand(1, 1, 3, 3)).softmax(-1).sum().backward()
    torch.cumprod(torch.rand(64), 0) @ torch.rand(64, 2)
    torch.linalg.eigh(torch.eye(3))
    torch.linalg.svd(torch.eye(3)), torch.fft.fft(torch.rand(8))
    torch.einsum("ij->j", x[0, 0]), repr(torch.rand(3)), torch.rand(3).numpy().sum()
    numpy.linalg.svd(numpy.eye(3)), numpy.random.get_state()
    torch.Generator().manual_seed(0)
    if "landlock" not in config["layers"]:
        load_everything(torch)
    gc.collect()
    gc.freeze()
    if threads() != 1:
        raise RuntimeError(f"torch has started {threads()} threads; a fork would not be safe")
    control.send(b"ready")

    while True:
        message, fds, _, _ = socket.recv_fds(control, 4096, 3)
        if not message:
            if os.getpid() == 1:
                os.kill(-1, signal.SIGKILL)
            os._exit(0)
        request = json.loads(message)
        if "end" in request:
            control.send(str(sweep(request["end"])).encode())
            continue
        config["ruleset"] = confine.landlock_ruleset(config["read"]) if "landlock" in config["layers"] else None
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                inbox, outbox, log = 3, 4, 5
                high = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
                if config["ruleset"] is not None:
                    config["ruleset"] = os.dup2(config["ruleset"], 103)
                os.closerange(3, 100)
                os.closerange(104, 65536)
                for fd, to in zip(high, (inbox, outbox, log), strict=True):
                    os.dup2(fd, to)
                    os.close(fd)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)
                nothing = os.open("/dev/null", os.O_RDONLY)
                os.dup2(nothing, 0)
                os.close(nothing)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                confine_worker(confine, config, request)
                sys.argv[:] = [""]
                config.clear()
                work(inbox, outbox, values, rules)
            except BaseException as error:
                os.write(2, f"worker could not start: {error!r}".encode()[:1000])
            finally:
                os._exit(3)
        for fd in fds:
            os.close(fd)
        if config["ruleset"] is not None:
            os.close(config["ruleset"])
        control.send(str(pid).encode())


if __name__ == "__main__":
    main()
