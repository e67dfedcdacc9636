"""About a hundred odd exercise files, and the one verdict that each must get from every runner.

    odd(name, cause, body="...", top="...", file=..., name_of_file=...)

`body` stands at the head of alphas_cumprod, before the right answer; `top` at the head of the file; `file` is the whole file.
`cause` is "passed", "not_attempted" or the cause of the failure; several are alternatives for different machines.
"""

from dataclasses import dataclass, field

RIGHT = "    return torch.cumprod(1 - betas, 0)\n"
FILE = "{top}import torch\n\n\ndef alphas_cumprod(betas):\n{body}" + RIGHT


@dataclass(frozen=True)
class Odd:
    name: str
    causes: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    says: str = ""
    slow: bool = False          # waits for a time limit


ODD: list[Odd] = []


def odd(name: str, causes: str, body: str = "", top: str = "", file: str | bytes | None = None, called: str = "ch03_forward.py",
        says: str = "", slow: bool = False, **more: str | bytes) -> None:
    text = FILE.format(top=f"{top}\n" if top else "", body="".join(f"    {line}\n" for line in body.splitlines())) if file is None else file
    files = {called: text, **{key.replace("__", "."): value for key, value in more.items()}}
    ODD.append(Odd(name, tuple(causes.split()), {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}, says, slow))


# ---- what does no harm
odd("right", "passed")
for module in ("logging", "os", "pathlib", "sys", "io", "time", "datetime", "json", "csv", "platform", "traceback", "inspect", "threading",
               "queue", "pickle", "argparse", "uuid", "locale", "tempfile", "shutil", "glob", "scipy", "numpy.linalg", "torch.nn.functional"):
    odd(f"imports {module}", "passed", top=f"import {module}")
odd("a logger", "passed", top="import logging\nlog = logging.getLogger(__name__)\nlogging.basicConfig()", body="log.warning('hello')")
odd("os.environ", "passed", top="import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'\nos.environ.setdefault('KMP_DUPLICATE_LIB_OK', 'TRUE')")
odd("path of the file", "passed", top="from pathlib import Path\nHERE = Path(__file__).parent\nDATA = HERE / 'data'")
odd("os.path", "passed", top="import os", body="os.path.join('a', 'b'), os.sep, os.cpu_count()")
odd("scipy integrate", "passed", top="from scipy import integrate", body="integrate.quad(lambda x: x * x, 0, 1)")
odd("scipy linalg", "passed", top="import scipy.linalg", body="scipy.linalg.sqrtm([[2.0, 0.0], [0.0, 3.0]])")
odd("matplotlib", "passed", top="import matplotlib.pyplot as plt\nplt.style.use('ggplot')",
    body="fig, ax = plt.subplots()\nax.plot(betas)\nplt.plot(betas)\nplt.title('x')\nplt.show()\nwith plt.ioff():\n    pass")
odd("matplotlib from", "passed", top="from matplotlib import pyplot as plt", body="plt.figure(figsize=(3, 2)).savefig('x.png')")
odd("tqdm", "passed", top="from tqdm import tqdm, trange", body="for i in tqdm(range(3), desc='x'):\n    pass\nassert [i for i in trange(3)] == [0, 1, 2]")
odd("tqdm auto", "passed", top="from tqdm.auto import tqdm", body="bar = tqdm([1, 2])\nfor i in bar:\n    bar.set_postfix(i=i)\nassert i == 2")
odd("prints", "passed", body="print(betas, betas.shape)")
odd("writes to stderr", "passed", top="import sys", body="sys.stderr.write('x')\nprint('y', file=sys.stderr)")
odd("warnings", "passed", top="import warnings\nwarnings.filterwarnings('ignore')", body="warnings.warn('careful')")
odd("a warning of torch", "passed", body="torch.tensor(betas)")
odd("print options", "passed", top="import torch\ntorch.set_printoptions(precision=2)")
odd("default dtype", "passed", top="import torch\ntorch.set_default_dtype(torch.float64)")
odd("no gradients", "passed", top="import torch\ntorch.set_grad_enabled(False)")
odd("seeds at the top", "passed", top="import torch, numpy, random\ntorch.manual_seed(0)\nnumpy.random.seed(0)\nrandom.seed(0)\nx = torch.randn(3)")
odd("a generator of one's own", "passed", body="torch.randn(2, generator=torch.Generator().manual_seed(1))")
odd("numpy's new generators", "passed", top="import numpy as np", body="np.random.default_rng(0).normal(size=3)")
odd("a Random of one's own", "passed", top="import random", body="random.Random(1).random()")
odd("if main", "passed", file="import torch\ndef alphas_cumprod(betas):\n" + RIGHT + "if __name__ == '__main__':\n    open('x').read()\n    input()\n")
odd("tests at the end", "passed", file="import torch\ndef alphas_cumprod(betas):\n" + RIGHT + "assert alphas_cumprod(torch.ones(1)).item() == 0\nprint('ok')\n")
odd("star import", "passed", top="from math import *\nfrom torch import *")
odd("future", "passed", top="from __future__ import annotations")
odd("dataclass", "passed", top="from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1")
odd("type hints", "passed", top="from typing import Optional, TypedDict\nclass T(TypedDict):\n    a: int")
odd("a lambda", "passed", file="import torch\nalphas_cumprod = lambda betas: torch.cumprod(1 - betas, 0)\n")
odd("a partial", "passed", file="import torch, functools\ndef f(d, betas):\n    return torch.cumprod(1 - betas, d)\nalphas_cumprod = functools.partial(f, 0)\n")
odd("a class with call", "passed", file="import torch\nclass A:\n    def __call__(self, betas):\n    " + RIGHT + "alphas_cumprod = A()\n")
odd("lru_cache on a helper", "passed", top="import functools\n@functools.lru_cache\ndef two():\n    return 2", body="two()")
odd("numpy round trip", "passed", top="import numpy as np", body="return torch.from_numpy(np.cumprod(1 - betas.numpy(), dtype=np.float32))")
odd("in-place on a copy", "passed", body="b = betas.clone()\nb.mul_(0)")
odd("dos newlines", "passed", file=FILE.format(top="", body="").replace("\n", "\r\n"))
odd("tabs", "passed", file="import torch\ndef alphas_cumprod(betas):\n\treturn torch.cumprod(1 - betas, 0)\n")
odd("a byte order mark", "passed", file=b"\xef\xbb\xbf" + FILE.format(top="", body="").encode())
odd("greek", "passed", file="import torch\ndef alphas_cumprod(betas):\n    β = betas\n    return torch.cumprod(1 - β, 0)  # ᾱ\n")
odd("latin-1, declared", "passed", file="# coding: latin-1\n# Grüße\n".encode("latin-1") + FILE.format(top="", body="").encode())
odd("a thread", "passed", top="import threading", body="t = threading.Thread(target=print)\nt.start()\nt.join()")
odd("a copy by a browser", "passed", called="ch03_forward (1).py")
odd("capitals", "passed", called="Ch03_Forward.py")
odd("a helper file", "passed", top="from helpers import one", body="one()", helpers__py="def one():\n    return 1\n")
odd("another exercise", "passed", top="from ch05_losses import snr", body="snr(betas)", ch05_losses__py="import math\ndef snr(a):\n    return a / (1 - a)\n")
odd("another exercise by package", "passed", top="from exercises.ch05_losses import snr\nimport exercises.ch05_losses as five",
    body="five.snr(betas)", ch05_losses__py="def snr(a):\n    return a / (1 - a)\n")
odd("another exercise, relative", "passed", top="from .ch05_losses import snr", ch05_losses__py="def snr(a):\n    return a\n")
odd("two files that import each other", "passed", top="import ch05_losses", body="ch05_losses.f()",
    ch05_losses__py="import ch03_forward\ndef f():\n    return ch03_forward.alphas_cumprod\n")
odd("unused forbidden import", "passed", top="import requests, sklearn\nfrom subprocess import run\nfrom course import schedule\nimport diffusers")
odd("a notebook's leftovers", "passed", top="try:\n    get_ipython()\nexcept NameError:\n    pass")
odd("exits when run alone", "passed", file=FILE.format(top="import sys\n", body="") + "if __name__ == '__main__':\n    sys.exit(0)\n")

# ---- what is refused
odd("course", "forbidden", top="from course.schedule import NoiseSchedule", body="return NoiseSchedule(betas).alphas_cumprod", says="holds the answers")
odd("import course", "forbidden", top="import course.schedule", body="return course.schedule.NoiseSchedule(betas).alphas_cumprod")
odd("diffusers", "forbidden", top="from diffusers import DDPMScheduler", body="DDPMScheduler()")
odd("subprocess", "forbidden", top="import subprocess", body="subprocess.run(['true'])")
odd("socket", "forbidden", top="import socket", body="socket.socket()")
odd("os.system", "forbidden", top="import os", body="os.system('true')")
odd("os.popen", "forbidden", top="import os", body="os.popen('true')")
odd("os.fork", "forbidden", top="import os", body="os.fork()")
odd("os.remove", "forbidden", top="import os", body="os.remove('nothing-of-this-name')")
odd("os.listdir", "forbidden", top="import os", body="os.listdir('/tmp')")
odd("open", "forbidden", body="open('x.txt', 'w')")
odd("open to read", "forbidden", body="open(__file__).read()")
odd("a path to read", "forbidden", top="from pathlib import Path", body="Path(__file__).read_text()")
odd("a path to write", "forbidden", top="from pathlib import Path", body="Path('/tmp/odd-file-of-a-student').write_text('x')")
odd("io.open", "forbidden", top="import io", body="io.open('/tmp/odd-file-of-a-student', 'w')")
odd("numpy save", "forbidden", top="import numpy as np", body="np.save('/tmp/odd-file-of-a-student', betas)")
odd("torch save", "forbidden", body="torch.save(betas, '/tmp/odd-file-of-a-student')")
odd("tempfile", "forbidden", top="import tempfile", body="tempfile.TemporaryFile()")
odd("file at import", "forbidden", top="open('numbers.txt').read()")
odd("input", "forbidden", body="input('> ')")
odd("breakpoint", "forbidden", body="breakpoint()")
odd("pdb", "forbidden", top="import pdb", body="pdb.set_trace()")
odd("torch's generator", "forbidden", body="torch.randn(3)")
odd("torch's seed", "forbidden", body="torch.manual_seed(0)")
odd("numpy's generator", "forbidden", top="import numpy as np", body="np.random.rand(3)")
odd("numpy's seed", "forbidden", top="import numpy as np", body="np.random.seed(5)")
odd("python's generator", "forbidden", top="import random", body="random.random()")
odd("changes its argument", "mutated_input", body="betas.mul_(1)\nbetas += 0.0\nbetas *= 0.5")
odd("changes it through numpy", "mutated_input", body="betas.numpy()[:] = 0.5")
odd("requires_grad", "mutated_input", body="betas.requires_grad_()", says="requires_grad")

# ---- what goes wrong
odd("exit()", "exception", body="exit()", says="exit()")
odd("quit()", "exception", body="quit()")
odd("sys.exit", "exception", top="import sys", body="sys.exit(0)", says="exit()")
odd("SystemExit", "exception", body="raise SystemExit")
odd("KeyboardInterrupt", "exception", body="raise KeyboardInterrupt", says="KeyboardInterrupt")
odd("GeneratorExit", "exception", body="raise GeneratorExit")
odd("exit at import", "import_error", top="import sys\nsys.exit(1)", says="exit()")
odd("interrupt at import", "import_error", top="raise KeyboardInterrupt")
odd("os._exit", "crashed", top="import os", body="os._exit(0)")
odd("os._exit at import", "crashed", top="import os\nos._exit(0)")
odd("abort", "crashed", top="import os", body="os.abort()")
odd("a segmentation fault", "crashed", top="import numpy as np", body="np.lib.stride_tricks.as_strided(np.zeros(1), (10,), (1 << 40,)).sum()")
odd("endless", "timeout", body="while True:\n    pass", slow=True)
odd("endless at import", "timeout", top="while True:\n    pass", slow=True)
odd("sleeps", "timeout", top="import time", body="time.sleep(1000)", slow=True)
odd("cannot be ended", "timeout", body="while True:\n    try:\n        torch.cumprod(1 - betas, 0)\n    except BaseException:\n        pass", slow=True)
odd("a bare except round work", "timeout", body="while True:\n    try:\n        torch.ones(300, 300) @ torch.ones(300, 300)\n    except:\n        pass", slow=True)
odd("one long call", "timeout", body="x = torch.ones(4000, 4000)\nfor i in range(99):\n    torch.matmul(x, x)", slow=True)
odd("a flood", "exception", body="while True:\n    print('x' * 10000)", says="printed more than")
odd("a recursion", "exception", body="return alphas_cumprod(betas)")
odd("too much memory", "memory", body="x = torch.ones(20_000_000_000)")
odd("divides by zero", "exception", body="1 / 0", says="line")
odd("a name that is not there", "exception", body="return numpy.cumprod(betas)")
odd("syntax", "import_error", file="import torch\ndef alphas_cumprod(betas)\n    return betas\n", says="line 2")
odd("half indented", "import_error", file="import torch\ndef alphas_cumprod(betas):\nreturn betas\n")
odd("conflict markers", "import_error", file="<<<<<<< HEAD\nimport torch\n=======\n")
odd("null bytes", "unreadable", file=b"import torch\x00\n")
odd("latin-1, not declared", "passed", file="# Grüße\nimport torch\ndef alphas_cumprod(betas):\n".encode("latin-1") + RIGHT.encode())
odd("shell line of a notebook", "import_error", file="!pip install torch\nimport torch\n")
odd("python 2", "import_error", file="import torch\nprint 'x'\n")
odd("a file that is not there", "import_error", top="from ch03_reverse import x\nfrom exercises.ch99_nothing import y")
odd("stub", "not_attempted", file="def alphas_cumprod(betas):\n    raise NotImplementedError\n")
odd("stub with a docstring", "not_attempted", file="def alphas_cumprod(betas):\n    'doc'\n    raise NotImplementedError('later')\n")
odd("empty", "not_attempted", file="")
odd("renamed", "not_attempted", file="import torch\ndef alpha_cumprod(betas):\n" + RIGHT, says="no function alphas_cumprod")
odd("not a function", "wrong_type", file="alphas_cumprod = 3\n")
odd("none", "wrong_type", body="return None")
odd("a list", "wrong_type", body="return betas.tolist()")
odd("numpy back", "wrong_type", body="return (1 - betas).cumprod(0).numpy()")
odd("a tensor on meta", "wrong_type", body="return torch.empty(3, device='meta')")
odd("a parameter", "wrong_type", body="return torch.nn.Parameter(torch.cumprod(1 - betas, 0))")
odd("double", "wrong_type", body="return torch.cumprod(1 - betas.double(), 0)")
odd("a generator function", "wrong_type", body="yield betas")
odd("async", "wrong_type", file="import torch\nasync def alphas_cumprod(betas):\n" + RIGHT)
odd("not a number", "not_finite", body="return betas * float('nan')")
odd("wrong", "wrong_value", body="return torch.cumprod(betas, 0)")
odd("one short", "wrong_shape", body="return torch.cumprod(1 - betas, 0)[1:]")
odd("remembers", "wrong_value", top="calls = []", body="calls.append(1)\nreturn torch.cumprod(1 - betas, 0) * (1 + 0.01 * len(calls))")
odd("wants two arguments", "exception", file="import torch\ndef alphas_cumprod(betas, alphas):\n" + RIGHT)
