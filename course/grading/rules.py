"""What a student's code finds and leaves behind, in one place for every runner: pytest, `course check` and `course grade`.

    copied(value)         arguments as the student gets them: writing into them reaches nobody else
    snapshot(value)       everything about them that could be changed, to compare before and after
    settings()            the process's own state (torch's defaults, random numbers, streams); `restored` puts it back
    guarded_builtins(...) what may be imported, and what happens to the rest; ROWS says it in words
    student_code()        round everything of a student's that runs
    explained(error)      what it raised, as data

It is advice for the honest, the same in every runner; what confines the dishonest is the kernel (course/grading/confine.py).

The confined worker loads this file by path, so it imports nothing of the course.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import gc
import io
import linecache
import os
import random
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

RNG_MESSAGE = ("{name} used a global random generator. Whatever is random is passed in, so that the same call gives "
               "the same result")
MUTATED_MESSAGE = ("{name} changed one of its arguments in place. Work on new tensors: `a * b` makes one, "
                   "`a *= b` and `a.mul_(b)` write into the caller's")
CHANGED_MESSAGE = ("{name} changed {what} of one of its arguments: whoever calls it again with the same tensor gets something "
                   "else. Work on a copy: `w = weight.detach().clone()`")


# ---------------------------------------------------------------------------------------------------------- arguments

def copied(value: Any, wrap: Callable[[Callable], Callable] | None = None) -> Any:
    """`value` with every tensor, array, list, tuple, dict, namespace and generator in it new; callables pass `wrap`."""
    kind = type(value)
    if kind in (torch.Tensor, torch.nn.Parameter):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if kind is np.ndarray:
        return value.copy()
    if kind in (list, tuple):
        return kind(copied(item, wrap) for item in value)
    if kind is dict:
        return {key: copied(item, wrap) for key, item in value.items()}
    if isinstance(value, types.SimpleNamespace):
        return kind(**copied(vars(value), wrap))
    if kind is torch.Generator:
        new = torch.Generator()
        new.set_state(value.get_state())
        return new
    return wrap(value) if wrap is not None and callable(value) else value


def calls_back(value: Any) -> bool:
    """Whether there is a function in `value`."""
    if isinstance(value, (list, tuple)):
        return any(map(calls_back, value))
    return callable(value) or (isinstance(value, types.SimpleNamespace) and calls_back(list(vars(value).values())))


def snapshot(value: Any) -> Any:
    """Everything that a function could change in `value`. Generators are left out: drawing is what they are passed for."""
    kind = type(value)
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return (tuple(value.shape), str(value.dtype), data, bool(value.requires_grad),
                snapshot(value.grad) if value.is_leaf else None)
    if kind is np.ndarray:
        return value.shape, str(value.dtype), value.tobytes()
    if kind in (list, tuple):
        return [snapshot(item) for item in value]
    if kind is dict:
        return [(key, snapshot(item)) for key, item in value.items()]
    if isinstance(value, types.SimpleNamespace):
        return snapshot(vars(value))
    return repr(value) if kind in (int, float, str, bool, type(None)) else kind.__name__


def changed(before: Any, after: Any) -> str:
    """ "" if two snapshots agree, "values" if anything that can be seen differs, else "requires_grad" or ".grad"."""
    if before == after:
        return ""
    if type(before) is tuple and len(before) == 5 and type(after) is tuple and len(after) == 5:
        return "values" if before[:3] != after[:3] else "requires_grad" if before[3] != after[3] else ".grad"
    if type(before) is list and type(after) is list and len(before) == len(after):
        words = [changed(b, a) for b, a in zip(before, after, strict=True)]
        return "values" if "values" in words else next(filter(None, words), "values")
    if type(before) is tuple and type(after) is tuple and len(before) == len(after) == 2 and before[0] == after[0]:
        return changed(before[1], after[1])          # an entry of a dict
    return "values"


def changed_message(name: str, what: str) -> str:
    return MUTATED_MESSAGE.format(name=name) if what == "values" else CHANGED_MESSAGE.format(name=name, what=what)


class Traced:
    """A function that is passed in, whose answers can be differentiated with respect to: `.answers` are zeros added to them.

    Added inside the student's code, so that they count only where that code lets gradients through.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self.answers: list[torch.Tensor] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._function(*args, **kwargs)
        self.answers.append(torch.zeros_like(answer).requires_grad_())
        return answer + self.answers[-1]


def traced(args: tuple | list, wrt: int) -> list:
    """The arguments with number `wrt` made into something that gradients can be taken with respect to."""
    x = args[wrt]
    return [*args[:wrt], Traced(x) if callable(x) else x.clone().requires_grad_(), *args[wrt + 1:]]


def gradient(result: Any, x: Any) -> torch.Tensor | None:
    """The gradient of the sum of `result` with respect to an argument made by `traced` (of a function: its first answer)."""
    if isinstance(x, Traced):
        if not x.answers:
            return None
        x = x.answers[0]
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return None
    return torch.autograd.grad(result.sum(), x, allow_unused=True)[0]


# -------------------------------------------------------------------------------------------------- the process's state

def random_state() -> list:
    """Where the three global random generators stand."""
    numbers: Any = np.random.get_state()
    return [torch.get_rng_state().numpy().tobytes(), numbers[1].tobytes(), numbers[2:], random.getstate()]


def seed(number: int) -> None:
    """Start all three from one number."""
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


def _set_random(state: tuple) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])


def _device() -> str:
    return str(torch.get_default_device())


def _set_environment(saved: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(saved)


def _set_streams(saved: tuple) -> None:
    sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook = saved


def _set_paths(saved: tuple) -> None:
    sys.path[:], sys.argv[:] = saved


def _set_filters(saved: list) -> None:
    if warnings.filters != saved:
        warnings.filters[:] = saved          # type: ignore[index]
        warnings._filters_mutated()          # type: ignore[attr-defined]


def _set_print(saved: dict) -> None:
    np.set_printoptions(**{k: v for k, v in saved.items() if k != "override_repr"})


def _set_anomaly(saved: tuple) -> None:
    torch.autograd.set_detect_anomaly(*saved)


def _set_deterministic(saved: tuple) -> None:
    torch.use_deterministic_algorithms(saved[0], warn_only=saved[1])


# in words, how to read it, how to set it; kept round everything that runs of a student's, silently
SETTINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], Any]], ...] = (
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's default device", _device, lambda saved: torch.set_default_device(None if saved == "cpu" else saved)),
    ("whether torch records gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's anomaly mode", lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()), _set_anomaly),
    ("torch's deterministic mode", lambda: (torch.are_deterministic_algorithms_enabled(),
                                            torch.is_deterministic_algorithms_warn_only_enabled()), _set_deterministic),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    ("torch's matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ("numpy's handling of floating-point errors", np.geterr, lambda saved: np.seterr(**saved)),
    ("numpy's print options", lambda: dict(np.get_printoptions()), _set_print),
    ("Python's recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("Python's streams", lambda: (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook), _set_streams),
    ("Python's paths", lambda: (list(sys.path), list(sys.argv)), _set_paths),
    ("the filters of warnings", lambda: list(warnings.filters), _set_filters),
    ("the environment variables", lambda: dict(os.environ), _set_environment),
    ("the garbage collector", gc.isenabled, lambda saved: gc.enable() if saved else gc.disable()),
)
_MODES = torch._C._len_torch_function_stack, torch._C._pop_torch_function_stack


def settings() -> list:
    """The process's state, for `restored`."""
    return [*(read() for _, read, _ in SETTINGS), (torch.get_rng_state(), np.random.get_state(), random.getstate()), _MODES[0]()]


def restored(saved: list) -> list[str]:
    """Put the state back; what had been changed, in words (random numbers are not counted)."""
    words = []
    for (word, read, write), value in zip(SETTINGS, saved[:-2], strict=True):
        if read() != value:
            write(value)
            words.append(word)
    while _MODES[0]() > saved[-1]:          # modes of torch that were entered and never left
        _MODES[1]()
    _set_random(saved[-2])
    return words


# ------------------------------------------------------------------------------------------- what may be imported and done

# Standard library whose very purpose is other processes, the network, the screen or the interpreter itself.
_CLOSED = frozenset({
    "subprocess", "multiprocessing", "socket", "socketserver", "ssl", "select", "selectors", "asyncio", "http",
    "urllib", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "xmlrpc", "webbrowser", "tkinter", "turtle",
    "curses", "ctypes", "pty", "tty", "termios", "fcntl", "resource", "signal", "posix", "pdb", "bdb", "code",
    "codeop", "cmd", "cgi", "cgitb", "mmap", "shelve", "dbm", "sqlite3", "syslog", "crypt", "ensurepip", "venv",
    "zipapp", "readline", "rlcompleter", "faulthandler", "antigravity", "this", "idlelib", "lib2to3", "pydoc",
    "distutils", "nt", "winreg", "winsound", "msvcrt"})
LIBRARIES = ("torch", "numpy", "scipy", "einops", "sympy", "mpmath", "typing_extensions")
IGNORED = ("matplotlib", "tqdm", "seaborn", "IPython", "plotly", "wandb", "tensorboard", "ipywidgets")
HELPERS = "helpers.py"          # the one file of one's own beside the exercises that is handed in with them
ROWS = (          # the table of exercises/README.md: what, and what happens
    ("import the standard library (math, random, itertools, os, pathlib, logging, ...)", "works"),
    (f"import {', '.join(LIBRARIES)}", "works"),
    ("import another exercise (`from ch03_forward import add_noise`) or your own `helpers.py`", "works; the file must be handed in too"),
    (f"import {', '.join(IGNORED)}, and plot or show progress with them", "does nothing while the checks run: nothing is drawn"),
    ("set environment variables, torch's defaults, warnings, print options", "works until the file is imported or the call ends"),
    ("print", "works, up to 1 MB"),
    ("import anything else (diffusers, subprocess, socket, ...), or `course` itself", "the import does nothing; using it is refused"),
    ("open, read or write files; start processes; use the network", "refused"),
    ("input(), breakpoint(), exit() left in the code", "refused; breakpoint() works under pytest in a terminal"),
    ("draw from the global random generators (torch.randn without generator, np.random.rand, random.random) inside a function", "refused"),
    ("write into arguments, or change their requires_grad or .grad", "refused"),
)


class Forbidden(ImportError):
    """A student's code used a module or a function that it may not use."""


class ForbiddenFile(PermissionError):
    """A student's code opened a file, started a process, or the like."""


def refuse(what: str) -> Any:
    if what.partition(".")[0] == "course":
        raise Forbidden(f"{what} may not be used here: the course's own package holds the answers")
    raise Forbidden(f"{what} may not be used here; exercises/README.md has the list of what may")


def allowed(name: str) -> bool:
    """Whether the module `name` is imported for real."""
    top = name.partition(".")[0]
    return top in LIBRARIES or (top in sys.stdlib_module_names and top not in _CLOSED)


def _words(text: str) -> list[str]:
    return [f"__{word}__" for word in text.split()]


def _stand_in() -> type:
    """A class of stand-ins for modules that are not there: importing one is no harm to other tasks, using one is refused."""
    def use(self: Any, *args: Any, **kwargs: Any) -> Any:
        return refuse(object.__getattribute__(self, "_name"))

    def attribute(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(f"{object.__getattribute__(self, '_name')}.{name}")

    names = _words("call getitem setitem delitem iter next bool len contains eq ne lt le gt ge enter exit add radd sub rsub mul rmul "
                   "truediv rtruediv floordiv mod pow neg matmul rmatmul int float index mro_entries array or ror and str format fspath")
    methods: dict[str, Any] = dict.fromkeys(names, use)
    methods |= {"__getattr__": attribute, "__hash__": use, "__init__": lambda self, name: self.__dict__.update(_name=name)}
    return type("StandIn", (), methods)


StandIn: Any = _stand_in()


class Ignored:
    """A stand-in for a library that draws or shows progress: whatever is asked of it, it does nothing.

    tqdm(x) is x to walk along, subplots() is a pair.
    """

    def __init__(self, name: str, items: Any = ()) -> None:
        self.__dict__.update(_name=name, _items=items)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Ignored(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        last = self._name.rpartition(".")[2]
        if last == "subplots":
            return Ignored("figure"), Ignored("axes")
        if last in ("tqdm", "tqdm_notebook", "trange", "track"):
            return Ignored(last, range(*args) if last == "trange" else args[0] if args else kwargs.get("iterable", ()))
        return Ignored(f"{self._name}()")

    def __setattr__(self, name: str, value: Any) -> None:
        pass

    def __getitem__(self, key: Any) -> Any:
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Any:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def guarded_builtins(sibling: Callable[[str], Any]) -> dict[str, Any]:
    """The builtins that a student's file sees. `sibling("ch03_forward.py")` is the module of a file beside it, or None."""
    real = builtins.__import__

    def guarded(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        top = name.partition(".")[0]
        if level == 0 and allowed(name):
            return real(name, globals, locals, fromlist, level)
        if level or top == "exercises":          # from . import x, from .x import y, from exercises import x, from exercises.x import y
            inner = name.partition(".")[2] if top == "exercises" else name
            if not inner and fromlist:
                return types.SimpleNamespace(**{item: beside(item, True) for item in fromlist})
            module = beside(inner, True)
            return module if fromlist else types.SimpleNamespace(**{inner: module})
        if (module := beside(name, False)) is not None:
            return module
        if top in IGNORED:
            return Ignored(name if fromlist else top)
        if fromlist and "*" in fromlist:
            refuse(f"from {name} import *")
        return StandIn(name if fromlist else top)

    def beside(name: str, must: bool) -> Any:
        module = sibling(f"{name}.py") if name.isidentifier() else None
        if module is None and must:
            raise ModuleNotFoundError(f"there is no {name or 'such'}.py among the files handed in: the exercise files, and "
                                      f"{HELPERS} for what they share")
        return module

    def refused(name: str) -> Callable:
        return lambda *args, **kwargs: refuse(f"{name}()")

    def leave(code: Any = None) -> None:
        raise SystemExit(code)

    out = {name: refused(name) for name in ("open", "input", "breakpoint", "help")}
    return dict(vars(builtins), __import__=guarded, exit=leave, quit=leave, **out)


# ------------------------------------------------------------------------------------ while a student's code runs

_running = threading.local()
_READABLE = tuple(os.path.realpath(path) + os.sep for path in {sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(np.__file__))})
_EVENTS = ("os.", "shutil.", "subprocess.", "socket.", "tempfile.", "glob.", "urllib.", "ctypes.dlopen", "pty.", "webbrowser.", "syslog.",
           "ftplib.", "http.", "smtplib.", "sqlite3.", "signal.pthread_kill")
_HARMLESS = ("os.putenv", "os.unsetenv", "os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.add_dll_directory")


def _audit(event: str, args: tuple) -> None:
    """Python tells this hook what is about to be done; while a student's code runs, some of it is not."""
    if getattr(_running, "depth", 0) <= 0:
        return
    if event == "open":
        path, mode, flags = (*args, None, 0)[:3]
        if type(path) is int or path == os.devnull:
            return
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR))
        with _quiet():
            where = os.path.realpath(os.fsdecode(path))
        if writes or not where.startswith(_READABLE):
            raise ForbiddenFile(f"opening the file {os.path.basename(where)} is not possible here: everything arrives as an argument")
    elif event in ("os.listdir", "os.scandir"):
        with _quiet():
            where = os.path.realpath(os.fsdecode(args[0])) if args and args[0] is not None and type(args[0]) is not int else os.getcwd()
        if not (where + os.sep).startswith(_READABLE):
            raise ForbiddenFile(f"listing the folder {os.path.basename(where)} is not possible here")
    elif event.startswith(_EVENTS) and event not in _HARMLESS:
        raise ForbiddenFile(f"{event} is not possible here: no files, no processes, no network")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    depth, _running.depth = _running.depth, 0
    try:
        yield
    finally:
        _running.depth = depth


class TooMuchOutput(OSError):
    """A student's code printed more than OUTPUT characters."""


OUTPUT = 1 << 20


class _Counting(io.TextIOBase):
    """A stream that passes on what is written, up to OUTPUT characters."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, OUTPUT

    def write(self, text: str) -> int:
        self._left -= len(text)
        if self._left < 0:
            raise TooMuchOutput(f"printed more than {OUTPUT >> 20} MB; is a print in a loop that was left in?")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.flush()


_hooked = False


@contextlib.contextmanager
def student_code() -> Iterator[list[str]]:
    """Round everything that runs of a student's: files and processes are refused, output is counted, and the process's state is
    put back. The list is filled with what had been changed, in words, when it ends."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    words: list[str] = []
    saved = settings()
    sys.stdout, sys.stderr = _Counting(sys.stdout), _Counting(sys.stderr)          # type: ignore[assignment]
    _running.depth = getattr(_running, "depth", 0) + 1
    try:
        yield words
    finally:
        _running.depth -= 1
        streams = sys.stdout, sys.stderr
        words += restored(saved)
        if all(isinstance(stream, _Counting) for stream in streams):          # ours, and nobody else's
            words.remove("Python's streams")


@contextlib.contextmanager
def grader_code() -> Iterator[None]:
    """Inside `student_code`, round a function that a check passed in: it is ours, and may do what it likes."""
    depth, _running.depth = getattr(_running, "depth", 0), 0
    try:
        yield
    finally:
        _running.depth = depth


def explained(error: BaseException, file: str, lines: Sequence[str]) -> dict[str, Any]:
    """What a student's code raised, as data: kind (stub, forbidden, memory, exception), names of its class and bases, text, and
    the last line of `file` (whose source is `lines`) that it passed."""
    try:
        kind = "exception"
        names = [str(c.__name__)[:80] for c in type(error).__mro__[:12] if c is not object]
        text = "called exit()" if isinstance(error, SystemExit) else str(error)[:4000]
        lowered = text.lower()
        if isinstance(error, NotImplementedError):
            kind = "stub"
        elif isinstance(error, (Forbidden, ForbiddenFile)):
            kind = "forbidden"
        elif isinstance(error, PermissionError) or (isinstance(error, RuntimeError)
                                                    and ("permission denied" in lowered or "not permitted" in lowered)):
            kind, text = "forbidden", f"the machine refused it ({text})"
        elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError)
                                                and ("allocate memory" in lowered or "not enough memory" in lowered)):
            kind = "memory"
        elif isinstance(error, OSError) and error.errno == errno.EFBIG:
            text = f"printed more than {OUTPUT >> 20} MB; is a print in a loop that was left in?"
        line, trace = 0, error.__traceback__
        if isinstance(error, SyntaxError) and error.filename == file:
            line, text = error.lineno or 0, str(error.msg)
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == file:
                line = trace.tb_lineno
            trace = trace.tb_next
        code = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        return {"kind": kind, "names": names, "text": text, "line": line, "code": code[:200]}
    except BaseException:
        return {"kind": "exception", "names": ["Exception"], "text": "(no readable text)", "line": 0, "code": ""}


class Files:
    """The Python files of one submission by name, imported when they are asked for, by a check or by each other.

    `sources` are their contents; `label(name)` is what tracebacks call a file.
    """

    def __init__(self, sources: Mapping[str, bytes], label: Callable[[str], str] = str) -> None:
        self._sources, self._label = sources, label
        self._modules: dict[str, types.ModuleType] = {}

    def lines(self, name: str) -> list[str]:
        return self._sources[name].decode("utf-8-sig", "replace").splitlines()

    def module(self, name: str) -> types.ModuleType | None:
        """The module of the file `name`, None if there is no such file. Raises whatever its code raises."""
        if name in self._modules or name not in self._sources:
            return self._modules.get(name)
        source, file = self._sources[name], self._label(name)
        linecache.cache[file] = (len(source), None, source.decode("utf-8-sig", "replace").splitlines(True), file)
        module = types.ModuleType(f"exercises_{name.removesuffix('.py')}")
        module.__dict__.update(__file__=file, __builtins__=guarded_builtins(self.module))
        try:
            code = compile(source, file, "exec", dont_inherit=True)
        except (MemoryError, RecursionError):          # how the parser calls what is nested too deeply
            raise SyntaxError("nested too deeply to be read") from None
        self._modules[name] = sys.modules[module.__name__] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            del self._modules[name]
            raise
        return module
