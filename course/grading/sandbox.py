"""The trusted side of the sandbox: what this machine can enforce, the zygote, and workers that run a student's code.

How strong the confinement is comes as one of four levels, found by trying the forbidden things in a child process:

    FULL                    process split, rlimits, Landlock, seccomp, and separate pid, network and mount namespaces
    STRONG                  the same without namespaces
    STRONG, COMPUTE-ONLY    no Landlock: student code cannot open any file
    NOT ENFORCED: ...       something is open; strangers' code is refused unless the caller repeats these words
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from course.grading.confine import closed_directory

HERE = Path(__file__).resolve().parent
MAX_HEADER = 4 << 20          # above what values.encode writes at its limits
MAX_REPLY = 64 << 20
MAX_CALLBACKS = 5000
# torch with its parts, what it needs for torch.func and optimisers, and the packages that exercises may use (rules.LIBRARIES)
PACKAGES = ("torch", "torchgen", "functorch", "numpy", "scipy", "typing_extensions", "sympy", "mpmath", "einops")
OUTPUT = 1 << 20          # bytes a student's code may print


@dataclass(frozen=True)
class Isolation:
    """What confines student code on this machine: `words` say it, `missing` is what is open, `layers` what is applied."""

    words: str
    missing: tuple[str, ...]
    layers: tuple[str, ...]
    inactive: dict[str, str]

    @property
    def active(self) -> list[str]:
        return ["separate process", "data only", "time limit", *self.layers] if self.layers else ["time limit"]

    def report(self) -> dict[str, Any]:
        """The `sandbox` entry of a report."""
        return {"level": self.words, "active": self.active, "inactive": dict(self.inactive)}


class WeakIsolation(RuntimeError):
    """This machine cannot confine strangers' code, and the caller did not accept that."""


class SandboxError(RuntimeError):
    """The sandbox itself could not be started."""


def readable_paths() -> list[str]:
    """What a worker may read: the standard library, torch and numpy; no other installed package, and not the course."""
    paths = []
    for root in {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib")}:
        if os.path.isdir(root):
            paths += [os.path.join(root, name) for name in sorted(os.listdir(root))
                      if name not in ("site-packages", "dist-packages", "idlelib", "test", "ensurepip", "__pycache__")]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        if spec.submodule_search_locations:
            where = next(iter(spec.submodule_search_locations))
            paths += [p for p in (where, f"{where}.libs") if os.path.isdir(p)]
        elif spec.origin:
            paths.append(spec.origin)
    return [os.path.realpath(p) for p in paths]


def _site() -> list[str]:
    """The directories that these packages are imported from."""
    found = [importlib.util.find_spec(package) for package in PACKAGES]
    return sorted({str(Path(spec.origin).parent.parent if spec.submodule_search_locations else Path(spec.origin).parent)
                   for spec in found if spec and spec.origin})


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
                "TORCHINDUCTOR_CACHE_DIR": "/usr"}          # exists, which is all that torch asks when it loads


@functools.cache
def isolation(without: tuple[str, ...] = ()) -> Isolation:
    """Try every layer on this machine (about 0.1 s, once per process). `without` pretends that some do not work."""
    if not sys.platform.startswith("linux"):
        open_ = "everything but time and value comparison"
        return Isolation(f"NOT ENFORCED: {open_}. For your own code only.", (open_,), (),
                         {name: "only Linux has it" for name in ("rlimits", "seccomp", "landlock", "uid", "namespaces")})
    question = json.dumps({"read": _roots(), "without": list(without)})
    try:
        done = subprocess.run([sys.executable, "-I", "-S", "-B", str(HERE / "confine.py"), question], env=_ENVIRONMENT,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True)
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        found = dict.fromkeys(("rlimits", "seccomp", "seccomp no-open", "landlock", "namespaces", "uid", "capabilities"),
                              f"the probe failed: {error}")
    no_open = found.pop("seccomp no-open")
    closed = closed_directory(readable_paths())
    if closed and found["namespaces"] and not found["uid"]:
        found["uid"] = (f"the interpreter lies under {closed}, which other users may not enter, and there is no mount "
                        "namespace to show it to them; install Python where everybody may read it")
    works = [name for name, problem in found.items() if not problem]
    if "uid" in works:
        found.pop("capabilities")
        works = [name for name in works if name != "capabilities"]
    inactive = {name: problem for name, problem in found.items() if problem}
    missing = []
    if "seccomp" in inactive and "namespaces" in inactive:
        missing.append("network")
    if "landlock" in inactive and (no_open or "seccomp" in inactive):
        missing.append("file reads")
    if "seccomp" in inactive:
        missing += ["processes", "kernel surface"]
    if "rlimits" in inactive:
        missing.append("memory")
    if missing:
        words = f"NOT ENFORCED: {', '.join(missing)}"
    elif "landlock" in inactive:
        words = ("STRONG, COMPUTE-ONLY: student code cannot open any file or import modules not preloaded")
    elif "namespaces" in inactive:
        words = "STRONG (no namespaces; process list and host name visible through system calls only)"
    else:
        words = "FULL"
    return Isolation(words, tuple(missing), tuple(works), inactive)


def _roots() -> list[str]:
    """The read list without the many single entries of the standard library: enough to see who may read it."""
    paths = readable_paths()
    return [*paths[:1], *[p for p in paths if os.path.basename(p) in ("json", "torch", "numpy")]]


def describe() -> str:
    """What confines student code on this machine, in plain words, one statement per line."""
    found = isolation()
    lines = [f"isolation: {found.words}", f"  active: {', '.join(found.active)}"]
    lines += [f"  not active: {name} ({why})" for name, why in found.inactive.items()]
    if found.missing:
        lines += ["  `course grade` refuses other people's code here, unless called with "
                  f"--accept-weak-isolation={','.join(w.replace(' ', '-') for w in found.missing)!r}",
                  "  What to do: grade on Linux 5.13 or later, or in a container there; Docker's default profile is enough."]
    return "\n".join(lines)


def require(found: Isolation, accepted: str = "") -> None:
    """Raise WeakIsolation if something is open that `accepted`, a comma-separated list of the same words, does not name."""
    words = {w.strip().replace("-", " ") for w in accepted.removeprefix("NOT ENFORCED:").split(",") if w.strip()}
    rest = [w for w in found.missing if w not in words]
    if not found.layers:
        raise WeakIsolation(f"{found.words} Other people's code is not graded on this system.")
    if rest:
        raise WeakIsolation(f"{found.words}. Student code would not be confined, so nothing was graded. To grade all the "
                            f"same (your own code, or inside a machine you can throw away), repeat what is open:\n"
                            f"    --accept-weak-isolation='{','.join(found.missing)}'")


# ---------------------------------------------------------------- processes

class WorkerLost(Exception):
    """The worker ended or spoke nonsense. `cause` is crashed, timeout or memory."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Zygote:
    """A process with torch loaded that forks confined workers, one at a time."""

    def __init__(self, found: Isolation | None = None) -> None:
        self.isolation = found or isolation()
        self._number = 0
        # user ids nobody has: a worker shares its uid, and so its process count, with nobody on the machine
        self._first_uid = 1_000_000_000 + random.SystemRandom().randrange(1_000_000) * 1000
        self._process: subprocess.Popen | None = None

    def _start(self) -> None:
        layers = list(self.isolation.layers)
        read = readable_paths()
        names = (["user"] if os.getuid() else []) + ["pid", "network", "ipc", "host name", "mount"]
        cover = closed_directory(read) if "uid" in layers and "namespaces" in layers else None
        # the standard library as a whole: one mount, not two hundred
        stdlib = os.path.realpath(sysconfig.get_paths()["stdlib"])
        mounts = [stdlib, *[p for p in read if not p.startswith(stdlib + "/")]]
        config = {"layers": layers, "namespaces": names, "read": read, "cover": cover, "mounts": mounts,
                  "path": _site(), "packages": PACKAGES, "output": OUTPUT, "processes": 32}
        log = tempfile.TemporaryFile()      # noqa: SIM115 (lives as long as the process)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(HERE / "zygote.py"), json.dumps(config), str(theirs.fileno())],
            pass_fds=[theirs.fileno()], env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=log, start_new_session=True)
        theirs.close()
        self._control = ours
        ours.settimeout(120)
        try:
            ready = ours.recv(100)
        except OSError:
            ready = b""
        if ready != b"ready":
            self.close()          # first, so that all it has to say is written
            log.seek(0)
            said = log.read()[-2000:].decode("utf-8", "replace")
            raise SandboxError(f"the sandbox could not start: {said.strip() or 'no reason given'}")
        ours.settimeout(20)

    def spawn(self, memory: int = 1024, cpu: int = 60) -> Worker:
        """A new confined worker, with `memory` MiB beyond what torch needs and `cpu` seconds of processor time."""
        for attempt in (0, 1):
            if self._process is None or self._process.poll() is not None:
                self._start()
            try:
                return self._spawn(memory, cpu)
            except OSError as error:
                self.close()
                if attempt:
                    raise SandboxError(f"no worker could be started: {error}") from error
        raise AssertionError

    def _spawn(self, memory: int, cpu: int) -> Worker:
        self._number += 1
        uid = self._first_uid + self._number % 1000
        to_read, to_write = os.pipe2(os.O_CLOEXEC)
        back_read, back_write = os.pipe2(os.O_CLOEXEC)
        log = tempfile.TemporaryFile()      # noqa: SIM115 (lives as long as the worker)
        try:
            request = {"memory": memory << 20, "cpu": cpu, "uid": uid}
            socket.send_fds(self._control, [json.dumps(request).encode()], [to_read, back_write, log.fileno()])
            pid = int(self._control.recv(100) or b"0")
            if not pid:
                raise OSError("the zygote ended")
        except BaseException:
            os.close(to_write)
            os.close(back_read)
            log.close()
            raise
        finally:
            os.close(to_read)
            os.close(back_write)
        return Worker(self, pid, to_write, back_read, log)

    def end(self, pid: int) -> int:
        """Kill a worker and everything it started; its wait status, or 0 if that is not known."""
        try:
            self._control.send(json.dumps({"end": pid}).encode())
            return int(self._control.recv(100) or b"0")
        except (OSError, ValueError):
            self.close()
            return 0

    def close(self) -> None:
        """End the zygote; with a pid namespace everything in it ends too."""
        if self._process is not None:
            self._control.close()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Worker:
    """One confined process. `ask` sends a request and returns the answer; student code runs in between."""

    def __init__(self, zygote: Zygote, pid: int, to_worker: int, from_worker: int, log: Any) -> None:
        self._zygote, self._pid, self._in, self._out, self._log = zygote, pid, to_worker, from_worker, log
        os.set_blocking(to_worker, False)
        os.set_blocking(from_worker, False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(to_worker, select.POLLOUT)
        self._readable.register(from_worker, select.POLLIN)
        self._requests = 0
        self._status: int | None = None

    def ask(self, header: dict, buffers: list[bytes], seconds: float,
            callback: Callable[[int, Any, bytes], tuple[dict, list[bytes]]] | None = None) -> tuple[dict, bytes]:
        """Send a request; answer callbacks by `callback(index, tree, bytes) -> (header, buffers)`; return the reply.

        Raises WorkerLost when the worker is too slow (`seconds`, callbacks not counted), ends, or speaks nonsense.
        """
        self._requests += 1
        number = self._requests
        deadline = time.monotonic() + seconds
        self._send(dict(header, id=number), buffers, deadline)
        for _ in range(MAX_CALLBACKS):
            reply, data = self._receive(deadline)
            if reply.get("id") != number:
                self._lost("crashed", "the process that ran the code answered out of turn")
            if "callback" not in reply:
                return reply, data
            if callback is None:
                self._lost("crashed", "the process that ran the code asked for something it was not given")
            began = time.monotonic()
            answer, more = callback(reply["callback"], reply.get("tree"), data)
            deadline += time.monotonic() - began
            self._send(answer, more, deadline)
        self._lost("timeout", f"a function that was passed in was called more than {MAX_CALLBACKS} times")

    def _send(self, header: dict, buffers: list[bytes], deadline: float) -> None:
        head = json.dumps(header).encode()
        payload = b"".join(buffers)
        view = memoryview(struct.pack("<II", len(head), len(payload)) + head + payload)
        while view:
            self._wait(self._writable, deadline)
            try:
                view = view[os.write(self._in, view[:1 << 16]):]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._gone()

    def _receive(self, deadline: float) -> tuple[dict, bytes]:
        sizes = struct.unpack("<II", self._read(8, deadline))
        if sizes[0] > MAX_HEADER or sizes[1] > MAX_REPLY:
            self._lost("crashed", "the process that ran the code sent more data than any result has")
        raw = self._read(sizes[0], deadline)
        try:
            header = json.loads(raw)
        except (ValueError, RecursionError):
            header = None
        if type(header) is not dict:
            self._lost("crashed", "the process that ran the code broke its connection to the grader")
        return header, self._read(sizes[1], deadline)

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait(self._readable, deadline)
            try:
                piece = os.read(self._out, min(1 << 20, size - len(data)))
            except BlockingIOError:
                continue
            if not piece:
                self._gone()
            data += piece
        return bytes(data)

    def _wait(self, poll: select.poll, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(max(1, left * 1000)):
            self._lost("timeout", "the time limit was reached")

    def _gone(self) -> NoReturn:
        """The worker closed its end: find out how it ended."""
        status = self.close()
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number in (signal.SIGXCPU,):
                raise WorkerLost("timeout", "the limit of processor time was reached")
            name = {int(signal.SIGSEGV): "a memory access violation", signal.SIGABRT: "an abort", signal.SIGFPE: "a division fault",
                    signal.SIGBUS: "a bus error", signal.SIGILL: "an illegal instruction",
                    signal.SIGSYS: "a forbidden system call"}.get(number, f"signal {number}")
            raise WorkerLost("crashed", f"the process that ran the code was ended by {name}")
        raise WorkerLost("crashed", f"the process that ran the code ended itself (exit status {os.WEXITSTATUS(status)})")

    def _lost(self, cause: str, message: str) -> NoReturn:
        self.close()
        raise WorkerLost(cause, message)

    @property
    def alive(self) -> bool:
        return self._status is None

    def close(self) -> int:
        """End the worker and everything it started; its wait status."""
        if self._status is None:
            # a process that is ending by itself gets a moment to say how
            self._status = self._zygote.end(self._pid)
            os.close(self._in)
            os.close(self._out)
        return self._status


# ---------------------------------------------------------------- the self-test

_HONEST = b"import torch\ndef f(x): return torch.cumprod(1 - x, 0)\n"
_UNGUARDED = "import sys\ndef f(x):\n    sys.modules['_rules']._running.depth = -99\n"          # the kernel is asked, not our advice
_CANARIES = {          # each returns True if it gets what it must not get
    "file reads": _UNGUARDED + "    sys.modules['_io'].FileIO({file!r}).read(1)\n    return True\n",
    "network": _UNGUARDED + "    sys.modules['_socket'].socket(2, 2)\n    return True\n",
    "processes": _UNGUARDED + "    o = sys.modules['posix']\n    if not o.fork(): o._exit(0)\n    return True\n",
    "kernel surface": _UNGUARDED + "    c = sys.modules['ctypes']\n    p = c.CDLL(None).prctl\n"
                      "    return p(1, 0, 0, 0, 0) == 0\n",
    "memory": "def f(x):\n    return len(bytearray(1 << 30)) > 0\n",
}


def self_test(zygote: Zygote) -> None:
    """An honest function must give its value, and each canary must be refused. Raises SandboxError otherwise; 0.1 s."""
    from course.grading.values import decode, encode, torch

    x = torch.full((3,), 0.5)
    tree, buffers = encode([[x], {}])

    def call(source: bytes, seconds: float) -> Any:
        worker = zygote.spawn(memory=256)
        try:
            for header, data in (({"op": "load", "file": "f.py", "files": [["f.py", len(source)]]}, [source]),
                                 ({"op": "call", "file": "f.py", "name": "f", "tree": tree}, buffers)):
                reply, got = worker.ask(header, data, seconds)
                if "error" in reply:
                    return None
            return decode(reply["tree"], got)
        except WorkerLost:
            return None
        finally:
            worker.close()

    value = call(_HONEST, 20)
    if type(value) is not torch.Tensor or not torch.equal(value, torch.tensor([0.5, 0.25, 0.125])):
        raise SandboxError("the self-test failed: an honest function does not give its value in the sandbox")
    for name, source in _CANARIES.items():
        if name not in zygote.isolation.missing and call(source.format(file=str(HERE / "grade.py")).encode(), 5) is True:
            raise SandboxError(f"the self-test failed: the sandbox says that it confines {name}, and it does not")
