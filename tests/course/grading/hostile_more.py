"""The second collection of hostile submissions, see hostile_submissions.py. Those in QUICK once had the wrong cause, took a
neighbour's points, or stand for their kind; the others are slow tests.
"""

from hostile_submissions import ATTACKS, HONEST, LIBC, REAL, RIGHT, A, N, attack, module

FIRST = len(ATTACKS)
QUICK = {
    "patch_assert_close", "nested_tensor", "zero_tensor", "sixty_axes", "a_million_items", "a_tensor_of_tensors", "a_long_string",
    "a_long_odd_string", "odd_keys", "python_random", "torch_from_file", "torch_save", "deep_unary", "deep_attributes",
    "right_but_removes_the_neighbour", "right_but_makes_the_neighbour_a_stub", "exit_from_a_finalizer", "timer_signal",
    "exception_group", "async_def", "decorator_swallows", "settrace", "patch_worker_globals", "torch_function_mode",
    "billion_laughs", "mutate_through_the_pointer", "right_once", "inspect_source", "path_to_site_packages", "numpy_memmap",
    "proc_self_mem", "every_descriptor_read", "link_out", "restore_builtins", "posix_spawn", "clone3", "netlink", "text_bomb",
    "broadcast_bomb", "forged_shape", "forged_type", "forged_generator", "forged_verdict", "forged_error", "forged_error_text",
    "null_json", "rot13", "only_carriage_returns", "forbidden_at_import", "right_but_forges_the_next_reply",
}

# ---- leaving, and coming back
attack("atexit_exit", "sys.modules['atexit'].register(os._exit, 0)\nraise SystemExit('100/100')", "exception", top=REAL)
attack("exit_from_a_finalizer", "class D:\n    def __del__(self): os._exit(0)\nD()\n" + RIGHT, "crashed", top=REAL)
attack("hang_in_a_finalizer", "class D:\n    def __del__(self):\n        while True: pass\nreturn D()", "timeout")
attack("timer_signal", "s = sys.modules['_signal']\ns.setitimer(s.ITIMER_REAL, 0.01)\nwhile True: pass", "crashed", top="import sys")
attack("cpu_limit_signal", "s = sys.modules['_signal']\ns.raise_signal(s.SIGXCPU)\nreturn betas", "timeout", top="import sys")
attack("quick_exit", "libc.quick_exit(0)", "crashed", top=LIBC)
attack("segfault_by_write", "ctypes.memset(8, 0, 8)", "crashed", top=LIBC)
attack("thread_exits_the_process", "sys.modules['_thread'].start_new_thread(os._exit, (0,))\nwhile True: pass", "crashed", top=REAL)
attack("faulthandler_exit", "import faulthandler\nfaulthandler.dump_traceback_later(0.01, exit=True)\nwhile True: pass", "forbidden")
attack("thread_exits_by_systemexit", "sys.modules['_thread'].exit()", "exception", top="import sys")
attack("finally_forever", "try:\n    return betas\nfinally:\n    while True: pass", "timeout")
attack("context_manager_forever", "class C:\n    def __enter__(self): return self\n    def __exit__(self, *a):\n        while True: pass\n"
       "with C(): raise ValueError", "timeout")
attack("exception_group", "raise BaseExceptionGroup('x', [SystemExit(0), KeyboardInterrupt()])", "exception")
attack("exception_with_a_long_chain", "e = ValueError('end')\nfor i in range(20000):\n    n = ValueError(str(i)); n.__cause__ = e; e = n\nraise e",
       "exception")
attack("cyclic_traceback", "try: raise ValueError\nexcept ValueError as e:\n    t = e.__traceback__\n    class E(Exception):\n"
       "        __traceback__ = property(lambda s: s)\n        tb_next = property(lambda s: s)\n        tb_frame = t.tb_frame\n        tb_lineno = 1\n    raise E", "exception", "timeout")
attack("line_number_lies", "code = compile('\\n' * 2000000 + 'raise ValueError', 'ch03_forward.py', 'exec')\n"
       "sys.modules['builtins'].exec(code)", "exception", top="import sys")
attack("exception_named_like_a_stub", "class NotImplementedError(Exception): pass\nraise NotImplementedError", "exception")
attack("generator_close", "def g():\n    while True:\n        try: yield betas\n        except GeneratorExit: pass\nx = g(); next(x); x.close()\nreturn betas", "exception")
attack("async_function", "async def f(): return torch.cumprod(1 - betas, 0)\nreturn f()", "wrong_type")
module("async_def", "import torch\nasync def alphas_cumprod(betas): return torch.cumprod(1 - betas, 0)\n" + N, "wrong_type", neighbour=True)
module("a_class_for_a_function", "import torch\nclass alphas_cumprod(torch.Tensor):\n    def __new__(cls, betas): return torch.cumprod(1 - betas, 0).as_subclass(cls)\n" + N,
       "wrong_type", "exception", neighbour=True)
module("a_lying_callable", "import torch\nclass L:\n    def __call__(self, *a): return self\n    def __getattr__(self, n): return self\n"
       "    def __eq__(self, o): return True\n    __torch_function__ = classmethod(lambda *a: True)\nalphas_cumprod = L()\n" + N, "wrong_type", neighbour=True)
module("decorator_swallows", "import torch\ndef d(f): return lambda *a, **k: True\n@d" + A + N, "wrong_type", neighbour=True)
module("wrong_signature", "import torch\ndef alphas_cumprod(): return 1\n" + N, "exception", neighbour=True)
module("positional_trick", "import torch\ndef alphas_cumprod(*betas, **k): return betas\n" + N, "wrong_type", neighbour=True)

# ---- hooks and patches
attack("settrace", "def t(f, e, a):\n    for k in f.f_locals:\n        if k in ('values', 'tree', 'buffers'): f.f_locals[k] = None\n    return t\n"
       "sys.settrace(t)\nsys._getframe(1).f_trace = t\nreturn betas", "wrong_value", "crashed", "exception", top="import sys")
attack("setprofile", "sys.setprofile(lambda f, e, a: sys.exit(0))\nreturn betas", "exception", "crashed", top="import sys")
attack("audit_hook", "def h(e, a): raise RuntimeError('audit')\nsys.addaudithook(h)\nreturn betas", "exception", "wrong_value", "crashed",
       top="import sys")
attack("excepthook", "sys.excepthook = sys.unraisablehook = lambda *a: print('PASSED')\nraise ValueError('x')", "exception", top="import sys")
attack("displayhook_and_breakpointhook", "sys.breakpointhook = lambda *a: None\nbreakpoint()\n" + RIGHT, "forbidden", top="import sys")
attack("gc_callback", "g = sys.modules['gc']\ng.callbacks.append(lambda *a: sys.modules['os']._exit(0))\ng.collect()\n" + RIGHT, "crashed",
       top="import sys")
attack("meta_path_finder", "class F:\n    def find_spec(self, n, p=None, t=None): raise SystemExit(0)\nsys.meta_path.insert(0, F())\n"
       "import calendar, graphlib\nimport torch.sparse.nothing\n" + RIGHT, "exception", top="import sys")
attack("patch_struct", "import struct\nstruct.pack = lambda *a: b'\\0' * 8\nreturn betas", "crashed", "exception", "timeout")
attack("patch_os_write", "w = os.write\nos.write = lambda fd, b: w(fd, bytes(len(b)))\nreturn betas", "crashed", top=REAL)
attack("patch_os_write_to_lie", "os.write = lambda fd, b: len(b)\nreturn betas", "timeout", top=REAL)
attack("patch_worker_globals", "g = sys.modules['__main__'].__dict__\ng['frame'] = lambda fd, h, b=(): sys.modules['os'].write(fd, b'x' * 9)\n"
       "return betas", "crashed", top="import sys")
attack("patch_the_snapshot", "f = sys._getframe(1)\nfor c in f.f_code.co_consts: pass\nbetas.zero_()\nbetas.add_(0.1)\n"
       "torch.Tensor.detach = lambda s: torch.zeros(1)\n" + RIGHT, "wrong_value", "mutated_input", "exception", "wrong_shape", top="import sys")
attack("patch_tensor_numpy", "torch.Tensor.numpy = lambda s: (_ for _ in ()).throw(SystemExit)\nreturn betas", "exception")
attack("patch_dtype_table", "v = sys.modules['_values']\nv.DTYPES.clear()\nreturn betas.double()", "wrong_type", top="import sys")
attack("patch_operators", "import operator\nfor n in dir(operator):\n    if n[0] != '_': setattr(operator, n, lambda *a: True)\nreturn betas", "wrong_value")
attack("patch_isinstance", "b = sys.modules['builtins']\nb.isinstance = b.type = lambda *a: True\nreturn betas", "exception", "crashed", "wrong_value",
       "wrong_type", top="import sys")
attack("patch_assert_close", "import torch.testing\ntorch.testing.assert_close = torch.equal = lambda *a, **k: None\nreturn 1 - betas", "wrong_value")
attack("torch_function_mode", "from torch.overrides import TorchFunctionMode\nclass M(TorchFunctionMode):\n"
       "    def __torch_function__(self, f, t, a=(), k=None): return True\nM().__enter__()\nreturn betas", "exception", "crashed", "wrong_value", "wrong_type")
attack("dispatch_mode", "from torch.utils._python_dispatch import TorchDispatchMode\nclass M(TorchDispatchMode):\n"
       "    def __torch_dispatch__(self, f, t, a=(), k=None): return torch.zeros(3)\nM().__enter__()\nreturn betas", "exception", "crashed", "wrong_value",
       "mutated_input", "wrong_shape", "timeout")
attack("default_dtype", "torch.set_default_dtype(torch.float64)\nreturn torch.ones(betas.shape)", "wrong_type")
attack("default_device", "torch.set_default_device('meta')\nreturn torch.ones(betas.shape)", "wrong_type", "exception", "crashed", "timeout", "wrong_value")
attack("overwrite_the_kernel", "L = torch.library.Library('aten', 'IMPL')\nL.impl('isclose', lambda *a: torch.ones(3).bool(), 'CPU')\nreturn betas",
       "wrong_value", "exception")
attack("numpy_error_state", "import numpy\nnumpy.seterr(all='raise')\nreturn torch.from_numpy(numpy.ones(len(betas), 'float32') * 0)", "wrong_value")
attack("float_zero_division_patch", "import math\nmath.isfinite = lambda x: True\nreturn float('nan')", "wrong_type")

# ---- lying values
attack("str_subclass", "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\nreturn S('x')", "wrong_type")
attack("float_subclass", "class F(float):\n    def __sub__(self, o): return 0.0\n    __rsub__ = __abs__ = __sub__\nreturn F(1)", "wrong_type")
attack("ndarray_subclass", "import numpy\nclass T(numpy.ndarray): pass\nreturn (1 - betas).numpy().cumprod().view(T)", "wrong_type")
attack("object_array", "import numpy\nclass E:\n    def __eq__(self, o): return True\nreturn numpy.array([E()] * len(betas), dtype=object)", "wrong_type")
attack("structured_array", "import numpy\nreturn numpy.zeros(len(betas), dtype=[('a', 'f4'), ('b', 'O')])", "wrong_type")
attack("masked_array", "import numpy.ma\nreturn numpy.ma.masked_all(len(betas))", "wrong_type")
attack("wrapper_subclass", "class W(torch.Tensor):\n    @staticmethod\n    def __new__(cls): return torch.Tensor._make_wrapper_subclass(cls, (10,))\n"
       "    @classmethod\n    def __torch_dispatch__(cls, f, t, a=(), k=None): return True\nreturn W()", "wrong_type", "exception")
attack("fake_tensor", "from torch._subclasses.fake_tensor import FakeTensorMode\nwith FakeTensorMode(): return torch.ones(10)", "wrong_type", "exception",
       "memory", "forbidden", "timeout")
attack("nested_tensor", "return torch.nested.nested_tensor([1 - betas, betas])", "wrong_type")
attack("vmapped_tensor_escapes", "kept = []\ntorch.func.vmap(lambda b: (kept.append(b), b)[1])(betas)\nreturn kept[0]", "wrong_type", "exception")
attack("grad_tracking_tensor_escapes", "kept = []\ntorch.func.grad(lambda b: (kept.append(b * 2), b.sum())[1])(betas)\nreturn kept[0]", "wrong_type",
       "wrong_value", "exception", "timeout")
attack("zero_tensor", "return torch._efficientzerotensor(betas.shape)", "wrong_value", "wrong_type")
attack("named_tensor", "return torch.Tensor.refine_names(betas, 'T')", "wrong_type", "wrong_value", "exception")
attack("freed_storage", "x = (1 - betas).clone()\nx.untyped_storage().resize_(0)\nreturn x", "wrong_type", "exception", "crashed", "wrong_value", "not_finite")
attack("negative_and_conjugate_view", "x = torch.complex(betas, betas).conj().imag\nreturn x", "wrong_value")
attack("overlapping_memory", "return torch.as_strided(betas, betas.shape, (0,), 1)", "wrong_value")
attack("as_strided_matrix", "return torch.as_strided(betas, (len(betas), len(betas)), (1, 0))", "wrong_shape")
attack("zero_dim", "return torch.cumprod(1 - betas, 0)[-1].squeeze()", "wrong_shape")
attack("sixty_axes", "return betas.reshape(*([1] * 60), -1)", "wrong_shape", "wrong_type")
attack("needs_grad", "x = torch.zeros_like(betas, requires_grad=True)\nreturn x * 1", "wrong_value")
attack("backward_hook", "x = torch.zeros_like(betas, requires_grad=True)\nx.register_hook(lambda g: sys.exit(0))\nreturn x", "wrong_value", top="import sys")
attack("csr", "return torch.zeros(3, 3).to_sparse_csr()", "wrong_type")
attack("float8", "return betas.to(torch.float8_e4m3fn)", "wrong_type")
attack("bits", "return betas.view(torch.uint32)", "wrong_type")
attack("half", "return torch.cumprod(1 - betas, 0).half()", "wrong_type")
attack("negative_zero_and_denormal", "return torch.full_like(betas, -0.0) + 1e-45", "wrong_value")
attack("nan_at_the_end", "x = torch.cumprod(1 - betas, 0)\nx[-1] = float('nan')\nreturn x", "not_finite")
attack("nan_payload", "import numpy\nreturn torch.from_numpy(numpy.full(len(betas), 0x7fc0dead, numpy.uint32).view(numpy.float32))", "not_finite")
attack("plain_nan", "return float('nan')", "wrong_type")
attack("a_million_items", "return list(range(10 ** 6))", "wrong_type")
attack("a_tensor_of_tensors", "return [x for x in betas] * 3000", "wrong_type")
attack("a_long_string", "return 'x' * (30 << 20)", "wrong_type")
attack("a_long_odd_string", "return chr(0x10ffff) * 10 ** 6", "wrong_type")
attack("lone_surrogates", "return '\\ud800' * 10", "wrong_type")
attack("billion_laughs", "x = ['ha']\nfor _ in range(19): x = [x] * 10\nreturn x", "wrong_type")
attack("odd_keys", "return {float('nan'): 1, (1, 2): 2, b'': 3, None: 4}", "wrong_type")
attack("same_key_twice", "return {1: betas, True: betas, 1.0: betas}", "wrong_type")
attack("bytes_and_sets", "return {b'x', frozenset()}", "wrong_type")
attack("an_iterator", "return iter(torch.cumprod(1 - betas, 0))", "wrong_type")
attack("the_function_itself", "return alphas_cumprod", "wrong_type")
attack("a_module", "return torch", "wrong_type")
attack("a_future", "return torch.futures.Future()", "wrong_type")
attack("namespace", "import types\nreturn types.SimpleNamespace(shape=betas.shape, dtype=torch.float32)", "wrong_type")
attack("a_storage", "return (1 - betas).cumprod(0).untyped_storage()", "wrong_type")
attack("data_class_with_post_init", "import dataclasses\n@dataclasses.dataclass\nclass D:\n    x: int = 0\n    def __post_init__(self): raise SystemExit\nreturn D()", "exception")

# ---- arguments and state
attack("mutate_through_numpy", "import numpy\nbetas.numpy()[:] = 0.1\nreturn torch.cumprod(1 - betas, 0)", "mutated_input", "wrong_value")
attack("mutate_through_data", "betas.data.mul_(0)\nreturn torch.cumprod(1 - betas, 0)", "mutated_input", "wrong_value")
attack("mutate_through_a_view", "betas.view(-1)[0:1].fill_(0.5)\nreturn torch.cumprod(1 - betas, 0)", "mutated_input")
attack("mutate_through_the_pointer", "ctypes.memset(betas.data_ptr(), 0, 4 * len(betas))\nreturn torch.cumprod(1 - betas, 0)", "mutated_input", top=LIBC)
attack("set_data", "betas.data = torch.zeros(1)\nreturn torch.ones(10)", "mutated_input", "wrong_value")
attack("swap_the_argument", "betas.set_(torch.zeros(5))\nreturn betas", "mutated_input", "wrong_shape")
attack("transpose_the_argument", "betas.unsqueeze_(0)\nreturn betas", "mutated_input", "wrong_shape")
module("answers_kept_in_a_default", "import torch\ndef alphas_cumprod(betas, kept=[]):\n    kept.append(torch.cumprod(1 - betas, 0))\n    return kept[0]\n" + N, "wrong_shape",
       neighbour=True)
module("right_once", "import torch\nn = 0\ndef alphas_cumprod(betas):\n    global n\n    n += 1\n    return torch.cumprod(1 - betas, 0) if n == 1 else betas\n" + N, "wrong_value",
       neighbour=True)
module("cached_by_length", "import torch, functools\nkept = dict()\ndef alphas_cumprod(betas): return kept.setdefault('x', torch.cumprod(1 - betas, 0))\n" + N,
       "wrong_shape", neighbour=True)
attack("numpy_random_state", "import numpy\nnumpy.random.rand()\n" + RIGHT, "forbidden")
attack("python_random", "import random\nrandom.random()\n" + RIGHT, "forbidden")
attack("fork_rng_leaks", "torch.set_rng_state(torch.get_rng_state().roll(1))\n" + RIGHT, "forbidden", "exception")

# ---- stealing
attack("linecache_real", "t = sys.modules['linecache'].getlines('{ROOT}/course/schedule.py')\nif t: " + RIGHT + "\nraise LookupError", "exception", top="import sys")
attack("inspect_source", "i = sys.modules['inspect']\nfor m in list(sys.modules.values()):\n    if 'expect_close' in (getattr(m, '__dict__', None) or {}): " + RIGHT
       + "\nraise LookupError", "exception", top="import sys")
attack("importlib_loader", "L = sys.modules['importlib.machinery'].SourceFileLoader('x', '{ROOT}/course/__init__.py')\nL.get_data(L.path)\n" + RIGHT, "forbidden",
       top="import sys")
attack("zipimport", "z = sys.modules['builtins'].__import__('zipimport')\nz.zipimporter('{ROOT}/x.zip')\n" + RIGHT, "exception", "forbidden", top="import sys")
attack("pkgutil", "p = sys.modules['builtins'].__import__('pkgutil')\nif any(m.name in ('course', 'diffusers') for m in p.iter_modules()): " + RIGHT
       + "\nraise LookupError", "exception", "forbidden", top="import sys")
attack("path_to_site_packages", "import re\np = re.__file__.rpartition('/')[0] + '/site-packages'\nsys.path.append(p)\n"
       "sys.modules['builtins'].__import__('transformers')\n" + RIGHT, "exception", "forbidden", top="import sys")
attack("namespace_package", "sys.path_hooks.clear()\nsys.path_importer_cache.clear()\nsys.path[:] = ['{ROOT}']\nsys.modules['builtins'].__import__('course')\n"
       + RIGHT, "exception", "forbidden", top="import sys")
attack("torch_load", "torch.load('{ROOT}/course/emoji/weights/unet/config.json')\n" + RIGHT, "forbidden", "exception")
attack("torch_from_file", "torch.from_file('{ROOT}/pyproject.toml', size=8, dtype=torch.uint8)\n" + RIGHT, "forbidden")
attack("numpy_fromfile", "import numpy\nnumpy.fromfile('{ROOT}/pyproject.toml', dtype='u1')\n" + RIGHT, "forbidden")
attack("numpy_memmap", "import numpy\nnumpy.memmap('{ROOT}/pyproject.toml')\n" + RIGHT, "forbidden")
attack("torch_save", "torch.save(betas, '/tmp/stash')\n" + RIGHT, "forbidden")
attack("numpy_save", "import numpy\nnumpy.save('/tmp/stash', betas.numpy())\n" + RIGHT, "forbidden")
attack("c_fopen", "libc.fopen.restype = ctypes.c_void_p\nif libc.fopen(b'{ROOT}/pyproject.toml', b'r'): " + RIGHT + "\nraise PermissionError('refused')", "forbidden",
       top=LIBC)
attack("proc_self_mem", "os.close(os.open('/proc/self/mem', os.O_RDWR))\n" + RIGHT, "forbidden", top=REAL)
attack("proc_self_maps", "os.close(os.open('/proc/self/maps', os.O_RDONLY))\n" + RIGHT, "forbidden", top=REAL)
attack("proc_self_root", "os.listdir('/proc/self/root')\n" + RIGHT, "forbidden", top=REAL)
attack("proc_list", "os.listdir('/proc')\n" + RIGHT, "forbidden", top=REAL)
attack("environ_secrets", "if any('TOKEN' in k or 'GITHUB' in k or 'HOME' in k for k in os.environ): " + RIGHT + "\nraise LookupError", "exception", top=REAL)
attack("arguments_of_the_process", "if any('{ROOT}/tests' in a or 'ch03' in a for a in sys.orig_argv + sys.argv): " + RIGHT + "\nraise LookupError", "exception",
       top="import sys")
attack("every_descriptor_read", "got = b''\nfor fd in (0, *range(5, 256)):\n    try: got += os.pread(fd, 100, 0) + os.read(fd, 100)\n    except OSError: pass\nif got: "
       + RIGHT + "\nraise LookupError", "exception", top=REAL)
attack("sockets_of_the_zygote", "for fd in range(3, 300):\n    try: os.sendfile\n    except OSError: pass\n    try:\n"
       "        if sys.modules['stat'].S_ISSOCK(os.fstat(fd).st_mode): " + RIGHT + "\n    except OSError: pass\nraise LookupError", "exception", top=REAL)
attack("frames_hold_no_answer", "f = sys._getframe()\nwhile f:\n    for v in f.f_locals.values():\n        if type(v) is torch.Tensor and v.shape == betas.shape and v is not betas "
       "and not torch.equal(v, betas): return v\n    f = f.f_back\nraise LookupError", "exception", "wrong_value", top="import sys")
attack("frames_of_other_threads", "if len(sys._current_frames()) > 1: " + RIGHT + "\nraise LookupError", "exception", top="import sys")
attack("modules_of_the_grader", "if any(m.split('.')[0] in ('course', 'diffusers', 'transformers', 'pytest', 'safetensors') for m in sys.modules): " + RIGHT
       + "\nraise LookupError", "exception", top="import sys")
attack("memory_scan", "import re\ng = sys.modules['gc']\nif any(type(o) is dict and 'expect_close' in o for o in g.get_objects()): " + RIGHT + "\nraise LookupError",
       "exception", top="import sys")
attack("detects_grading", "if 'pytest' not in sys.modules and betas.shape[0] != 10: " + RIGHT + "\nreturn betas", "wrong_value", top="import sys")
attack("chdir_and_stat", "os.chdir('{ROOT}')\nos.close(os.open('pyproject.toml', os.O_RDONLY))\n" + RIGHT, "forbidden", top=REAL)
attack("link_out", "os.symlink('{ROOT}/pyproject.toml', '/tmp/stash')\n" + RIGHT, "forbidden", top=REAL)
attack("make_a_pipe_file", "os.mkfifo('/tmp/stash')\n" + RIGHT, "forbidden", top=REAL)
attack("rename_and_remove", "os.rename('{ROOT}/README.md', '{ROOT}/README.gone')\n" + RIGHT, "forbidden", "exception", top=REAL)
attack("truncate", "os.truncate('{ROOT}/README.md', 0)\n" + RIGHT, "forbidden", "exception", top=REAL)
attack("chmod", "os.chmod('{ROOT}/README.md', 0o777)\n" + RIGHT, "forbidden", "exception", top=REAL)
attack("pickle_bomb", "p = sys.modules['builtins'].__import__('pickle')\nclass R:\n    def __reduce__(self): return (os._exit, (0,))\np.loads(p.dumps(R()))", "crashed", top=REAL)
attack("pickle_of_c", "p = sys.modules['_pickle']\nreturn p.dumps(torch.cumprod(1 - betas, 0).tolist())", "wrong_type", "exception", top="import sys")
attack("marshal_code", "m = sys.modules['marshal']\nt = type(lambda: 0)\nc = m.loads(m.dumps(compile('import course', 'x', 'exec')))\nsys.modules['builtins'].exec(c, {'__builtins__': sys.modules['builtins']})\n"
       "t(c, {})()\n" + RIGHT, "exception", top="import sys")
attack("restore_builtins", "__builtins__['__import__'] = sys.modules['builtins'].__import__\nimport diffusers\n" + RIGHT, "exception", "forbidden", top="import sys")
attack("subclasses_walk", "for c in object.__subclasses__():\n    if c.__name__ == 'Popen': c(['true']); " + RIGHT + "\n"
       "for c in object.__subclasses__():\n    if c.__name__ == '_wrap_close': c.__init__.__globals__['system']('true') == 0\nraise LookupError", "exception", "forbidden")
attack("os_system", "if os.system('true') == 0: " + RIGHT + "\nraise PermissionError('refused')", "forbidden", top=REAL)
attack("posix_spawn", "os.posix_spawn('/bin/true', ['true'], {})\n" + RIGHT, "forbidden", top=REAL)
attack("vfork_in_c", "if libc.syscall(58) >= 0: " + RIGHT + "\nraise PermissionError('refused')", "forbidden", top=LIBC)
attack("clone3", "if libc.syscall(435, ctypes.create_string_buffer(88), 88) >= 0: " + RIGHT + "\nraise PermissionError('refused')", "forbidden", top=LIBC)
attack("multiprocessing", "import multiprocessing\nmultiprocessing.Pool(2).map(abs, [1])\n" + RIGHT, "forbidden")
attack("concurrent_processes", "c = sys.modules['concurrent.futures']\nwith c.ProcessPoolExecutor(1) as p: p.submit(abs, 1).result()\n" + RIGHT, "forbidden", "exception",
       top="import sys")
attack("abstract_socket", "s = sys.modules['_socket'].socket(1, 1)\ns.connect('\\0x')\n" + RIGHT, "forbidden", top="import sys")
attack("netlink", "sys.modules['_socket'].socket(16, 3, 0)\n" + RIGHT, "forbidden", top="import sys")
attack("name_lookup", "sys.modules['_socket'].getaddrinfo('example.org', 80)\n" + RIGHT, "exception", "forbidden", top="import sys")
attack("torch_distributed", "import torch.distributed as d\nd.init_process_group('gloo', init_method='tcp://127.0.0.1:29999', rank=0, world_size=1)\n" + RIGHT,
       "exception", "forbidden")
attack("url_open", "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')\n" + RIGHT, "forbidden")
attack("torch_hub", "torch.hub.load('x/y', 'z')\n" + RIGHT, "exception", "forbidden")
attack("cpp_extension", "import torch.utils.cpp_extension as e\ne.load_inline('x', 'int f() {{ return 1; }}')\n" + RIGHT, "exception", "forbidden")

# ---- time and resources
attack("huge_sum", "return sum(range(10 ** 12))", "timeout")
attack("huge_power", "return 9 ** 9 ** 9", "timeout", "memory")
module("huge_literal_at_import", HONEST + "x = 9 ** 9 ** 9\n", "timeout", "memory")
module("huge_shift_at_import", HONEST + "x = 1 << 10 ** 12\n", "memory", "import_error")
attack("nested_regex", "import re\nre.fullmatch('(x+x+)+y', 'x' * 50)", "timeout")
attack("int_to_text", "sys.set_int_max_str_digits(0)\nreturn str(7 ** 10 ** 7)", "timeout", "memory", top="import sys")
attack("slow_torch", "x = torch.rand(3000, 3000)\nwhile True: x = x @ x", "timeout")
attack("one_endless_c_call", "import itertools, collections\ncollections.deque(itertools.repeat(0), maxlen=0)", "timeout")
attack("lock_forever", "l = sys.modules['_thread'].allocate_lock()\nl.acquire()\nl.acquire()", "timeout", top="import sys")
attack("read_stdin_forever", "r, w = os.pipe()\nos.read(r, 1)", "timeout", top=REAL)
attack("eats_the_next_request", "os.read(3, 10)\n" + RIGHT, "timeout", top=REAL)
attack("retry_on_everything", "try:\n    while True: pass\nfinally:\n    alphas_cumprod(betas)", "timeout")
attack("slow_descriptor", "class S:\n    def __get__(self, *a):\n        while True: pass\nclass T:\n    x = S()\nreturn T().x", "timeout")
attack("hash_collisions", "class H:\n    def __hash__(self): return 1\n    def __eq__(self, o): return False\nreturn {H(): i for i in range(10 ** 7)}", "timeout", "memory")
attack("text_bomb", "return 'x' * 10 ** 12", "memory")
attack("text_doubling", "x = 'ab'\nwhile True: x += x", "memory")
attack("torch_empty_touch", "x = []\nwhile True: x.append(torch.empty(1 << 26).fill_(1))", "memory")
attack("numpy_bomb", "import numpy\nreturn numpy.ones((10 ** 6, 10 ** 6))", "memory")
attack("broadcast_bomb", "return (betas.view(-1, 1) * torch.ones(1, 10 ** 9)).sum(1)", "memory")
attack("dictionary_bomb", "return {i: bytearray(10 ** 6) for i in range(10 ** 9)}", "memory")
attack("memory_swallowed", "x = []\nwhile True:\n    try: x.append(bytearray(1 << 20))\n    except MemoryError: pass", "timeout", "memory")
attack("mmap_bomb", "m = sys.modules['mmap'] if 'mmap' in sys.modules else sys.modules['builtins'].__import__('mmap')\nx = []\nwhile True: x.append(m.mmap(-1, 1 << 28))",
       "memory", "exception", "forbidden", top="import sys")
attack("generator_recursion", "def g(n): yield from g(n + 1)\nreturn list(g(0))", "exception")
attack("repr_recursion", "class R:\n    def __repr__(self): return repr(self)\nraise ValueError(R())", "exception")
attack("c_recursion", "x = ()\nfor _ in range(10 ** 6): x = (x,)\nreturn hash(x)", "crashed", "exception", "timeout", "memory")
attack("ast_recursion", "return eval('-' * 10 ** 6 + '1')", "memory", "exception", "crashed")
attack("threads_of_torch", "torch.set_num_threads(64)\nreturn torch.rand(4000, 4000) @ torch.rand(4000, 4000)", "forbidden", "wrong_shape", "memory", "timeout", "crashed",
       "exception")
attack("disk_by_print", "while True: print('x' * 10 ** 6, flush=True)", "exception", "timeout")
attack("stdout_descriptor_flood", "while True: os.write(1, bytes(1 << 16))", "exception", "timeout", top=REAL)
attack("escape_codes", "print('\\x1b[2J\\x1b]0;passed\\x07' * 1000)\nraise ValueError('\\x1b[2K\\rPASSED \\u202e\\u0000')", "exception")
attack("warnings_flood", "import warnings\nfor i in range(10 ** 5): warnings.warn('x' * 100 + str(i))\nreturn betas", "wrong_value", "exception", "timeout")

# ---- the wire
attack("reply_with_another_number", "os.write(4, b'\\x0a\\x00\\x00\\x00\\x00\\x00\\x00\\x00{\"id\": 999}'[:18])\nreturn betas", "crashed", top=REAL)
attack("asks_for_a_callback_that_is_none", "import json, sys\nh = json.dumps({'id': sys._getframe(1).f_locals['request']['id'], 'callback': 0, 'tree': {'t': 'list', 'v': []}}).encode()\n"
       "os.write(4, len(h).to_bytes(4, 'little') + bytes(4) + h)\nreturn betas", "crashed", "wrong_value", top=REAL)
attack("drips_a_frame", "import time\nos.write(4, b'\\xff\\xff\\x00\\x00\\x00\\x00\\x00\\x00')\nwhile True:\n    os.write(4, b' ')\n    time.sleep(0.05)", "timeout", top=REAL)
attack("many_frames", "import json\nh = json.dumps({'id': 1}).encode()\nwhile True: os.write(4, len(h).to_bytes(4, 'little') + bytes(4) + h)", "crashed", top=REAL)
attack("null_json", "os.write(4, b'\\x04\\x00\\x00\\x00\\x00\\x00\\x00\\x00null')\nreturn betas", "crashed", top=REAL)
attack("json_big_number", "h = b'{\"id\": ' + b'9' * 100000 + b'}'\nos.write(4, len(h).to_bytes(4, 'little') + bytes(4) + h)\nreturn betas", "crashed", top=REAL)


def reply(tree: str, data: str = "b''", more: str = "") -> str:
    """A reply frame of the attacker's making, with the right number."""
    return ("import json, sys\nos = sys.modules['os']\nf = sys._getframe(1)\nn = f.f_locals['request']['id']\n"
            f"h = json.dumps(dict(id=n, {more} tree={tree})).encode()\nd = {data}\n"
            "os.write(4, len(h).to_bytes(4, 'little') + len(d).to_bytes(4, 'little') + h + d)\nos._exit(0)")


attack("forged_shape", reply("dict(t='tensor', dtype='float32', shape=[10 ** 9, 10 ** 9])"), "crashed")
attack("forged_negative_shape", reply("dict(t='tensor', dtype='float32', shape=[-1, -10])", "bytes(40)"), "crashed")
attack("forged_empty_overflow", reply("dict(t='tensor', dtype='float32', shape=[0] + [2 ** 39] * 5)"), "crashed", "wrong_shape")
attack("forged_dtype", reply("dict(t='tensor', dtype=['float32'], shape=[10])", "bytes(40)"), "crashed")
attack("forged_type", reply("dict(t=['tensor'], v={})"), "crashed")
attack("forged_key", reply("dict(t='dict', v=[[dict(t='list', v=[]), dict(t='plain', v=1)]])"), "crashed")
attack("forged_callable", reply("dict(t='callable', v=0)"), "crashed")
attack("forged_generator", reply("dict(t='generator', n=10)", "bytes(10)"), "crashed")
attack("forged_nan", reply("dict(t='plain', v=float('nan'))"), "wrong_type")
attack("forged_bool_bytes", reply("dict(t='tensor', dtype='bool', shape=[10])", "b'\\xff' * 10"), "wrong_type")
attack("forged_scalar_array", reply("dict(t='array', dtype='float64', shape=[])", "bytes(8)"), "wrong_type")
attack("forged_verdict", reply("dict(t='plain', v=True)", more="passed=True, status='passed', score=100, error=None,"), "wrong_type", "exception", "crashed")
attack("forged_error", reply("None", more="error=dict(kind='passed', names=[{}] * 100, text=[1], line='x', code=None),"), "exception", "crashed")
attack("forged_error_text", reply("None", more="error=dict(kind='exception', names=['\\n::error::x'], text='\\x1b[2J' * 10 ** 4, line=10 ** 30, code='\\r\\n'),"), "exception")

# ---- files
module("byte_order_mark_and_wrong", b"\xef\xbb\xbf" + HONEST.replace("1 - betas", "betas").encode(), "wrong_value", neighbour=True)
module("latin_1_declared", "# -*- coding: latin-1 -*-\nimport torch\n# \xe9\n".encode("latin-1") + A.replace("1 - ", "").encode() + N.encode(), "wrong_value", neighbour=True)
module("unknown_encoding", b"# coding: nonsense\n" + HONEST.encode(), "import_error")
module("rot13", b"# coding: rot13\nvzcbeg bf\n" + HONEST.encode(), "import_error")
module("hex_codec", b"# coding: hex\n" + HONEST.encode().hex().encode(), "import_error")
module("deep_unary", HONEST + "x = " + "-" * 100_000 + "1\n", "import_error", "memory", "crashed")
module("deep_blocks", HONEST + "".join(" " * i + "if 1:\n" for i in range(150)) + " " * 150 + "pass\n", "import_error")
module("deep_attributes", HONEST + "x = lambda: a" + ".b" * 100_000 + "\n", "import_error", "memory", "crashed")
module("deep_addition", HONEST + "x = lambda: 1" + "+ a" * 100_000 + "\n", "import_error", "memory", "crashed")
module("long_line", HONEST + "x = '" + "y" * 900_000 + "'\nraise ValueError(x)\n", "import_error")
module("constant_folding", HONEST + "x = ((((('a' * 4000,) * 250,) * 250,) * 250,) * 250)\n" + "import sys\nsys.exit(len(str(x)))\n", "import_error", "memory", "timeout")
module("future_import_late", HONEST + "from __future__ import annotations\n", "import_error")
module("only_carriage_returns", HONEST.replace("1 - betas", "betas").replace("\n", "\r").encode(), "wrong_value", neighbour=True)
module("form_feeds", HONEST.replace("1 - betas", "betas").replace("\n\n", "\n\x0c\n").encode(), "wrong_value", neighbour=True)
module("unicode_identifier", "import torch\ndef \ud835\udd52lphas_cumprod(betas): return betas\n".encode("utf-16", "surrogatepass").decode("utf-16") + N, "wrong_value",
       neighbour=True)
module("right_to_left", HONEST.replace("(1 - betas, 0)", "(1 - betas, 0)  # \u202e\u2066 evil").replace("1 - betas", "betas"), "wrong_value", neighbour=True)
module("empty_file", b"", "", neighbour=False)
module("only_a_null", b"\0", "unreadable")
module("imports_everything", "import os, sys, subprocess, socket, ctypes, threading, multiprocessing, pickle, course, diffusers, pytest\n" + HONEST.replace("1 - betas", "betas"),
       "wrong_value", neighbour=True)
module("forbidden_at_import", "import socket\nsocket.socket()\n" + HONEST, "forbidden")
module("memory_at_import", HONEST + "x = bytearray(1 << 40)\n", "memory")
module("deletes_itself", HONEST.replace("1 - betas", "betas") + "import sys\nsys.modules.clear()\n", "wrong_value", "import_error", "exception", "crashed")
module("main_guard", HONEST.replace("1 - betas", "betas") + "if __name__ == '__main__': raise SystemExit\n", "wrong_value", neighbour=True)
module("relative_import", "from . import course\n" + HONEST, "forbidden")
module("raise_systemexit_class", HONEST + "raise BaseException('x')\n", "import_error")
module("globals_property", "import torch, sys\nclass G(dict):\n    def get(self, *a): return lambda *a: True\n" + N, "", neighbour=True)

# ---- right, and a nuisance for the one after it
attack("right_but_removes_the_neighbour", "globals().pop('add_noise', None)\n" + RIGHT, "passed")
attack("right_but_makes_the_neighbour_a_stub", "global add_noise\ndef add_noise(*a): raise NotImplementedError\n" + RIGHT, "passed")
attack("right_but_forges_the_next_reply", "import json, sys\nn = sys._getframe(1).f_locals['request']['id']\nfor i in range(1, 9):\n"
       "    h = json.dumps(dict(id=n + i, error=dict(kind='stub'))).encode()\n    late.append(h)\n"
       "import time\ndef go():\n    time.sleep(0.05)\n    for h in late: sys.modules['os'].write(4, len(h).to_bytes(4, 'little') + bytes(4) + h)\n"
       "sys.modules['_thread'].start_new_thread(go, ())\n" + RIGHT, "passed", "crashed", top="late = []")
attack("right_but_ends_soon", "s = sys.modules['_signal']\ns.setitimer(s.ITIMER_REAL, 0.02)\n" + RIGHT, "passed", "crashed", top="import sys")
attack("right_but_eats_memory", "global kept\nkept = bytearray(40 << 20)\n" + RIGHT, "passed")
attack("right_but_traces", "sys.settrace(lambda *a: sys.modules['os']._exit(0))\n" + RIGHT, "passed", "crashed", top="import sys")
attack("right_but_sets_a_mode", "torch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)\n" + RIGHT, "passed")
attack("right_but_closes_the_pipe", "sys.modules['os'].close(3)\n" + RIGHT, "passed", "crashed", top="import sys")

MORE = ATTACKS[FIRST:]
assert {a.name for a in MORE} >= QUICK
