"""Hostile submissions, as a table. Each attacks one of the two tasks of chapter 3; most leave the other one honest.

An entry: name, what the file holds, the task attacked, the causes that are right, and whether the honest neighbour keeps
its points (a file that cannot be imported takes its neighbour with it). `{A}` and `{N}` are honest answers, `{ROOT}` the
repository. Attacks that need a capability return right values if they get it, so zero points means that it was denied.
"""

from __future__ import annotations

from dataclasses import dataclass

A = """
def alphas_cumprod(betas):
    return torch.cumprod(1 - betas, 0)
"""
N = """
def add_noise(x0, noise, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise
"""
HONEST = "import torch\n" + A + N
REAL = "import sys\nos = sys.modules['os']\n"          # around the polite refusal of `import os`

# the polite refusals of course/grading/rules.py are switched off: it is the kernel that is attacked
UNGUARDED = "import sys\nsys.modules['_rules']._running.depth = -99\n"


@dataclass(frozen=True)
class Attack:
    name: str
    source: bytes
    causes: tuple[str, ...]
    task: str = "ch03.alphas_cumprod"
    neighbour: bool = True


ATTACKS: list[Attack] = []


def _indent(body: str) -> str:
    return "\n".join("    " + line for line in body.strip("\n").splitlines())


def attack(name: str, body: str, *causes: str, top: str = "") -> None:
    """`body` in place of alphas_cumprod, with `top` before everything."""
    source = f"import torch\n{UNGUARDED}{top}\ndef alphas_cumprod(betas):\n{_indent(body)}\n{N}"
    ATTACKS.append(Attack(name, source.encode(), causes))


def noise_attack(name: str, body: str, *causes: str, top: str = "") -> None:
    """`body` in place of add_noise."""
    source = f"import torch\n{UNGUARDED}{top}\n{A}\ndef add_noise(x0, noise, alpha_bar_t):\n{_indent(body)}\n"
    ATTACKS.append(Attack(name, source.encode(), causes, "ch03.add_noise"))


def module(name: str, source: str | bytes, *causes: str, neighbour: bool = False, task: str = "ch03.alphas_cumprod") -> None:
    """A whole file."""
    ATTACKS.append(Attack(name, source if isinstance(source, bytes) else source.encode(), causes, task, neighbour))


RIGHT = "return torch.cumprod(1 - betas, 0)"

# ---- leaving
attack("exit_in_call", "raise SystemExit(0)", "exception")
attack("sys_exit", "sys.exit(0)", "exception", top="import sys")
attack("os_exit", "os._exit(0)", "crashed", top="import os")
attack("os_exit_real", "os._exit(0)", "crashed", top=REAL)
attack("keyboard_interrupt", "raise KeyboardInterrupt", "exception")
attack("generator_exit", "raise GeneratorExit", "exception")
attack("kill_self", "os.kill(os.getpid(), 9)", "crashed", top=REAL)
attack("abort", "os.abort()", "crashed", top=REAL)
attack("null_pointer", "import sys\nsys.modules['ctypes'].string_at(0)", "crashed")
attack("stack_overflow", "sys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nreturn f(0)", "crashed", "memory", "exception",
       "timeout", top="import sys")
attack("recursion", "return alphas_cumprod(betas)", "exception")
module("exit_at_import", "import sys\nsys.exit(0)\n" + HONEST, "import_error")
module("real_exit_at_import", REAL + "os._exit(0)\n" + HONEST, "crashed")
module("syntax_error", "def alphas_cumprod(betas:\n" + HONEST, "import_error")
module("raise_at_import", HONEST + "raise RuntimeError('boo')\n", "import_error")

# ---- pytest, hooks, patches of the machinery
attack("pytest_skip", "pytest.skip('nothing to see')", "forbidden", top="import pytest")
attack("raise_not_implemented_late", "raise NotImplementedError", "")
attack("patch_allclose", "torch.isclose = torch.allclose = lambda *a, **k: True\nreturn torch.zeros_like(betas)", "wrong_value")
attack("patch_tensor_eq", "torch.Tensor.__eq__ = lambda *a: True\ntorch.Tensor.__ne__ = lambda *a: False\n"
       "return torch.ones_like(betas)", "wrong_value")
attack("patch_builtins", "import sys\nb = sys.modules['builtins']\nb.abs = b.all = b.any = lambda *a: True\n"
       "return torch.ones_like(betas)", "wrong_value")
attack("patch_json", "import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\nreturn betas", "crashed", "exception")
attack("patch_isfinite", "torch.isfinite = lambda x: torch.ones_like(x).bool()\nreturn betas / 0", "not_finite")
attack("patch_encode", "import sys\nv = sys.modules['_values']\nv.encode = lambda *a, **k: ({'t': 'passed'}, [])\nreturn betas",
       "crashed")
attack("forged_json_file", "import sys\nos = sys.modules['os']\nfd = os.open('/tmp/results.json', os.O_WRONLY | os.O_CREAT)\n"
       "os.write(fd, b'{\"score\": 100}')\nreturn torch.cumprod(1 - betas, 0)", "forbidden")
attack("forged_reply", "os.write(4, b'\\x10\\x00\\x00\\x00\\x00\\x00\\x00\\x00{\"passed\": true}')\nreturn betas", "crashed",
       "wrong_value", top=REAL)
attack("giant_frame", "os.write(4, b'\\xff' * 8)\nwhile True: pass", "crashed", "timeout", top=REAL)
attack("deep_json", "h = b'[' * 100000\nos.write(4, len(h).to_bytes(4, 'little') + bytes(4) + h)\nwhile True: pass", "crashed",
       top=REAL)
attack("all_descriptors", "for fd in range(3, 64):\n    try: os.write(fd, b'PASSED')\n    except OSError: pass\nreturn betas",
       "crashed", "exception", "timeout", top=REAL)
attack("close_pipes", "for fd in range(3, 64):\n    try: os.close(fd)\n    except OSError: pass\nreturn betas", "crashed", top=REAL)
attack("atexit", "import sys\natexit.register(lambda: None)\nreturn betas", "wrong_value", top="import atexit")
attack("endless_callbacks", "f = sys._getframe(1)\nwhile True: pass", "timeout", top="import sys")
attack("verdict_in_a_frame", "f = sys._getframe()\nwhile f:\n    for k, v in list(f.f_locals.items()):\n"
       "        if 'expected' in k and isinstance(v, torch.Tensor): return v\n    f = f.f_back\nreturn betas", "wrong_value",
       top="import sys")
attack("print_passed", "print('PASSED tests/exercises/test_ch03_forward.py::test_alphas_cumprod')\nreturn betas", "wrong_value")
attack("workflow_commands", "print('::notice::Points 100/100\\n::set-output name=result::x')\nraise ValueError('\\n::error::x')",
       "exception")

# ---- lying objects
attack("equal_to_all", "class E:\n    def __eq__(self, o): return True\n    __array__ = None\nreturn E()", "wrong_type")
attack("tensor_subclass", "class T(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k): return True\n"
       "return betas.as_subclass(T)", "wrong_type", "exception")
attack("parameter", "return torch.nn.Parameter(torch.cumprod(1 - betas, 0))", "wrong_type")
attack("numpy", "return torch.cumprod(1 - betas, 0).numpy()", "wrong_type")
attack("lying_class", "class T:\n    __class__ = torch.Tensor\n    shape = betas.shape\n    dtype = torch.float32\nreturn T()",
       "wrong_type")
attack("array_protocol", "class T:\n    def __array__(self, *a): return (1 - betas).cumprod(0).numpy()\nreturn T()", "wrong_type")
attack("all_nan", "return torch.full_like(betas, float('nan'))", "not_finite")
attack("one_inf", "x = torch.cumprod(1 - betas, 0)\nx[3] = float('inf')\nreturn x", "not_finite")
attack("meta", "return torch.empty(betas.shape, device='meta')", "wrong_type")
attack("sparse", "return torch.cumprod(1 - betas, 0).to_sparse()", "wrong_type")
attack("quantized", "return torch.quantize_per_tensor(betas, 0.1, 0, torch.qint8)", "wrong_type")
attack("complex", "return torch.cumprod(1 - betas, 0).to(torch.complex64)", "wrong_type")
attack("double", "return torch.cumprod(1 - betas, 0).double()", "wrong_type")
attack("broadcastable", "return torch.cumprod(1 - betas, 0)[-1:]", "wrong_shape")
attack("extra_axis", "return torch.cumprod(1 - betas, 0)[None]", "wrong_shape")
attack("empty", "return betas[:0]", "wrong_shape")
attack("huge_expand", "return betas[:1].expand(10**12)", "wrong_type", "wrong_shape", "memory")
attack("zero_stride", "return betas[:1].expand_as(betas)", "wrong_value")
attack("generator", "yield torch.cumprod(1 - betas, 0)", "wrong_type")
attack("list", "return torch.cumprod(1 - betas, 0).tolist()", "wrong_type")
attack("nested", "x = []\nfor _ in range(100000): x = [x]\nreturn x", "wrong_type", "crashed")
attack("cyclic", "x = []\nx.append(x)\nreturn x", "wrong_type")
attack("big_integer", "return 10 ** 100000", "wrong_type")
attack("none", "return None", "wrong_type")
attack("evil_repr", "class T:\n    def __repr__(self): raise SystemExit\n    __str__ = __repr__\nreturn T()", "wrong_type")
attack("evil_class_name", "return type('A' * 10**6 + '\\n::error::', (), {})()", "wrong_type")
attack("evil_exception", "class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "exception")
attack("slow_exception", "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E", "timeout")
attack("long_exception", "raise ValueError('A' * 10**8)", "exception", "memory")
attack("metaclass", "class M(type):\n    __name__ = property(lambda s: 1 / 0)\nclass E(Exception, metaclass=M): pass\nraise E",
       "exception")
attack("lazy_resolve", "return torch._neg_view(-(torch.cumprod(1 - betas, 0))) * 2", "wrong_value")

# ---- arguments, state, threads
attack("mutate_in_place", "betas.neg_().add_(1)\nreturn torch.cumprod(betas, 0)", "mutated_input")
noise_attack("mutate_so_that_a_late_reference_agrees", "x0.zero_()\nnoise.zero_()\nreturn x0 + noise", "mutated_input",
             "wrong_value")
noise_attack("return_the_argument", "x0.copy_(noise)\nreturn x0", "mutated_input", "wrong_value")
attack("resize_the_argument", "betas.resize_(1)\nreturn betas", "mutated_input", "wrong_shape", "wrong_value", "exception")
attack("global_random", "torch.rand(3)\n" + RIGHT, "forbidden")
attack("seed_global", "torch.manual_seed(0)\n" + RIGHT, "forbidden")
attack("thread_changes_later", "x = torch.zeros_like(betas)\ndef late():\n    y = (1 - betas).cumprod(0)\n"
       "    while True: x.copy_(y)\nthreading.Thread(target=late, daemon=True).start()\nreturn x", "wrong_value", "passed",
       top="import threading")
attack("real_thread_changes_later", "import _thread\nx = torch.zeros_like(betas)\ny = (1 - betas).cumprod(0)\ndef late():\n"
       "    sys.modules['time'].sleep(0.05)\n    x.copy_(y)\nsys.modules['_thread'].start_new_thread(late, ())\nreturn x",
       "wrong_value", "exception", top="import sys")

# ---- stealing
attack("import_course", "import course.forward\nreturn course.forward.alphas_cumprod(betas)", "forbidden")
attack("import_diffusers", "from diffusers import DDPMScheduler\n"
       "return DDPMScheduler(trained_betas=betas.tolist()).alphas_cumprod", "forbidden")
attack("real_import_diffusers", "imp = sys.modules['builtins'].__import__\nd = imp('diffusers')\n"
       "return d.DDPMScheduler(trained_betas=betas.tolist()).alphas_cumprod", "exception", "forbidden", top="import sys")
attack("real_import_course", "imp = sys.modules['builtins'].__import__\nsys.path.insert(0, '{ROOT}')\nimp('course.schedule')\n"
       + RIGHT, "exception", "forbidden", top="import sys")
attack("read_reference", "open('{ROOT}/course/schedule.py').read()\n" + RIGHT, "forbidden")
attack("real_read_reference", "os.close(os.open('{ROOT}/course/schedule.py', os.O_RDONLY))\n" + RIGHT, "forbidden", top=REAL)
attack("read_checks", "sys.modules['builtins'].open('{ROOT}/pyproject.toml')\n" + RIGHT, "forbidden", top="import sys")
attack("read_passwd", "sys.modules['_io'].FileIO('/etc/passwd').read()\n" + RIGHT, "forbidden", top="import sys")
attack("list_root", "os.listdir('/')\n" + RIGHT, "forbidden", top=REAL)
attack("proc_parent", "os.close(os.open(f'/proc/{os.getppid()}/mem', os.O_RDONLY))\n" + RIGHT, "forbidden", "exception", top=REAL)
attack("proc_self_environ", "os.close(os.open('/proc/self/environ', os.O_RDONLY))\n" + RIGHT, "forbidden", top=REAL)
attack("walk_gc", "gc = sys.modules['gc']\nfor o in gc.get_objects():\n    if type(o) is torch.Tensor and o.shape == betas.shape "
       "and not torch.equal(o, betas):\n        return o\nraise LookupError", "exception", "wrong_value", top="import sys")
attack("write_tmp", "os.close(os.open('/tmp/stash', os.O_WRONLY | os.O_CREAT))\n" + RIGHT, "forbidden", top=REAL)
attack("write_shm", "os.close(os.open('/dev/shm/stash', os.O_WRONLY | os.O_CREAT))\n" + RIGHT, "forbidden", top=REAL)
attack("pickle", "pickle.loads(pickle.dumps(betas))\n" + RIGHT, "passed", top="import pickle")
attack("reduce_object", "class R:\n    def __reduce__(self): return (print, ('hi',))\nreturn R()", "wrong_type")

# ---- time and resources
attack("endless_loop", "while True: pass", "timeout")
attack("endless_sleep", "import time\ntime.sleep(10**6)", "timeout")
attack("endless_c", "return torch.tensor(pow(3, 10**9) % 7)", "timeout")
attack("regex", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", "timeout")
attack("ignored_signals", "import sys\ns = sys.modules['signal']\nfor n in range(1, 32):\n    try: s.signal(n, s.SIG_IGN)\n"
       "    except (OSError, ValueError): pass\nwhile True: pass", "timeout")
attack("stop_self", "os.kill(os.getpid(), 19)", "timeout", top=REAL)
attack("swallow_everything", "while True:\n    try:\n        while True: pass\n    except BaseException: pass", "timeout")
module("endless_import", HONEST + "while True: pass\n", "timeout")
attack("memory_list", "x = []\nwhile True: x.append(bytearray(1 << 24))", "memory", "timeout")
attack("memory_tensor", "return torch.ones(10**12)", "memory")
attack("memory_touch", "x = [torch.ones(1 << 24) for _ in range(1000)]\nreturn x[0]", "memory")
attack("fork_bomb", "while True: os.fork()", "forbidden", top=REAL)
attack("thread_bomb", "t = sys.modules['_thread']\nwhile True: t.start_new_thread(sys.modules['time'].sleep, (10**6,))", "exception",
       "crashed", "memory", "timeout", top="import sys")
attack("subprocess", "subprocess.run(['true'])\n" + RIGHT, "forbidden", top="import subprocess")
attack("real_exec", "os.execv('/bin/true', ['true'])", "forbidden", top=REAL)
attack("double_fork_daemon", "if os.fork() == 0:\n    os.setsid()\n    while True: pass\n" + RIGHT, "forbidden", top=REAL)
attack("output_flood", "for _ in range(10**9): print('x' * 1000)", "exception", "timeout")
attack("output_flood_then_right", "for _ in range(30000): print('x' * 100, flush=True)\n" + RIGHT, "exception")
attack("stderr_flood", "for _ in range(10**9): sys.stderr.write('x' * 100000)", "exception", "timeout", top="import sys")
attack("descriptor_bomb", "x = []\nwhile True: x.append(os.dup(1))", "exception", top=REAL)
attack("disk_bomb", "fd = os.memfd_create('x')\nwhile True: os.write(fd, bytes(1 << 20))", "exception", top=REAL)

# ---- network and kernel
attack("tcp", "socket.create_connection(('127.0.0.1', 22), 1)\n" + RIGHT, "forbidden", top="import socket")
attack("real_tcp", "sys.modules['_socket'].socket(2, 1)\n" + RIGHT, "forbidden", top="import sys")
attack("real_udp", "sys.modules['_socket'].socket(2, 2)\n" + RIGHT, "forbidden", top="import sys")
attack("unix_socket", "sys.modules['_socket'].socketpair()\n" + RIGHT, "forbidden", top="import sys")
LIBC = "import sys\nctypes = sys.modules['ctypes']\nlibc = ctypes.CDLL(None, use_errno=True)\n"
for _name, _number, _arguments in (
        ("udp", 41, "2, 2, 0"), ("mptcp", 41, "2, 1, 262"), ("clone", 56, "17, 0, 0, 0, 0"), ("ptrace", 101, "0, 0, 0, 0"),
        ("unshare", 272, "0x10000000"), ("io_uring", 425, "8, 0"), ("bpf", 321, "0, 0, 0"), ("shmget", 29, "0, 4096, 0o1666"),
        ("pidfd_open", 434, "libc.getppid(), 0"), ("kill_parent", 62, "libc.getppid(), 9"), ("userfaultfd", 323, "1"),
        ("prlimit_parent", 302, "libc.getppid(), 0, 0, 0"), ("keyctl", 250, "0, -3, 1"), ("open_tree", 428, "-100, b'/', 1"),
        ("unknown_call", 999, "0"), ("fcntl_owner", 72, "1, 8, libc.getppid()"), ("undying", 157, "1, 0, 0, 0, 0")):
    attack(f"raw_{_name}", f"if libc.syscall({_number}, {_arguments}) >= 0:\n    {RIGHT}\n"
           "raise PermissionError('refused')", "forbidden", top=LIBC)

# ---- files
module("utf16", HONEST.encode("utf-16"), "unreadable")
module("zero_bytes", HONEST.encode() + b"\0", "unreadable")
module("not_utf8", HONEST.encode() + b"\xff\xfe\n", "import_error")
module("too_big", HONEST.encode() + b"# " + b"x" * (1 << 20), "unreadable")
module("deep_parentheses", HONEST + "x = " + "(" * 5000 + ")" * 5000 + "\n", "import_error", "memory")
module("million_lines", HONEST + "x = 1\n" * 30_000 + "def alphas_cumprod(betas): return betas\n", "wrong_value", neighbour=True)
module("codec_trick", b"# coding: unicode_escape\nimport torch\\x0aimport os\\x0adef alphas_cumprod(betas):\\x0a    os._exit(0)\n"
       + N.encode(), "crashed", neighbour=True)
module("module_getattr", "import torch\ndef __getattr__(name): return lambda *a: True\n" + N, "", neighbour=True)
module("replaced_module", "import sys, torch\n" + A.replace("1 - ", "") + N + "class M: pass\nsys.modules[__name__] = M()\n", "wrong_value",
       neighbour=True)
module("not_a_function", "import torch\nalphas_cumprod = 7\n" + N, "wrong_type", neighbour=True)
module("star_import", "from requests import *\n" + HONEST, "forbidden")
attack("closed_builtins", "sys.modules['builtins'].__dict__.clear()\nreturn betas", "exception", "crashed", "timeout",
       top="import sys")
attack("replace_neighbour_then_fail", "global add_noise\nadd_noise = None\ntorch.Tensor.view = None\nreturn betas", "wrong_value",
       "exception")
# right answers that spoil the worker for the task after it: the neighbour is run again in a worker of its own
attack("right_but_spoils_the_worker", "torch.Tensor.sqrt = None\n" + RIGHT, "passed")
attack("right_but_leaves_a_busy_thread", "import sys\ndef busy():\n    while True: pass\n"
       "for _ in range(3): sys.modules['_thread'].start_new_thread(busy, ())\n" + RIGHT, "passed", "exception")
