"""A sweep: every combination of the settings in question, rendered for the same prompts and seeds.

    settings     model, vae, text_encoder, engine, sampler, steps, guidance, height, width, nets: each a list
    pictures     for every setting, every prompt with every seed

Results are a folder: `rows.csv`, one line a picture, and `pictures/`. A line is added only when its picture is on the disk, so
a run that is killed, interrupted or out of space loses at most the batch in hand; the same command continues where it
stopped. One setting is rendered in batches; batches can be spread over processes (joblib), a cluster (Dask) or several GPUs
(`accelerate launch`).
"""

from __future__ import annotations

import csv
import errno
import functools
import hashlib
import itertools
import os
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from course.names import did_you_mean


class Setting(NamedTuple):
    """One combination. vae and text_encoder: "" for the model's own, or what `load_components` takes in their place (for the
    emoji model also the name of a part that ships beside it). height, width: 0 for what the model was trained at. nets: whose
    networks hold the weights, diffusers' or the course's own."""

    model: str = "emoji"
    vae: str = ""
    text_encoder: str = ""
    engine: str = "course"
    sampler: str = "dpmpp_2m"
    steps: int = 25
    guidance: float = 7.5
    height: int = 0
    width: int = 0
    nets: str = "diffusers"

    def label(self, but: Sequence[str] = ()) -> str:
        """A short name; the fields in `but` are left out."""
        parts = {"model": self.model, "vae": self.vae and f"vae {self.vae}", "text_encoder": self.text_encoder and
                 f"text encoder {self.text_encoder}", "engine": self.engine if self.engine != "course" else "",
                 "sampler": self.sampler, "steps": f"{self.steps} steps", "guidance": f"guidance {self.guidance:g}",
                 "height": self.height and f"{self.width} x {self.height}",
                 "nets": self.nets != "diffusers" and f"nets {self.nets}"}
        return ", ".join(str(text) for field, text in parts.items() if text and field not in but)


ROW = ("key", *Setting._fields[:-1], "prompt", "seed", "picture", "sha256", "seconds", "batch", "model_calls", "peak_memory_mb",
       "device", "dtype", "course_version", "torch_version", "diffusers_version", "finished", "nets")
WITHOUT_NETS = ROW[:-1]         # results from before there was a choice of networks: they go on being read and added to
ENGINES = ("course", "diffusers")


class Chunk(NamedTuple):
    """Pictures of one setting that are rendered together."""

    setting: Setting
    pairs: tuple[tuple[str, int], ...]


# ------------------------------------------------------------------------------------------------ what to render


def grid(**lists: Any) -> list[Setting]:
    """All combinations; each keyword is a field of `Setting` with one value or a list.

    Raises ValueError for an unknown field, sampler or engine (with the nearest name) or a number that cannot be.
    """
    unknown = set(lists) - set(Setting._fields)
    if unknown:
        name = sorted(unknown)[0]
        raise ValueError(f"a sweep has no setting {name!r}{did_you_mean(name, Setting._fields)} "
                         f"There are {', '.join(Setting._fields)}")
    values = {field: as_list(lists.get(field, default)) for field, default in Setting._field_defaults.items()}
    settings = [Setting(*combination) for combination in itertools.product(*values.values())]
    return [check(setting) for setting in dict.fromkeys(settings)]


def as_list(value: Any) -> list[Any]:
    """One value or a list -> a list. Raises ValueError when empty."""
    values = list(value) if isinstance(value, list | tuple | range) else [value]
    if not values:
        raise ValueError("a setting was given an empty list")
    return values


def check(setting: Setting) -> Setting:
    """The setting with its numbers as numbers. Raises ValueError for what cannot be rendered."""
    from course.components import NETS
    from course.samplers import FLOWS, SAMPLERS

    if setting.sampler not in {**SAMPLERS, **FLOWS}:
        raise ValueError(f"unknown sampler {setting.sampler!r}{did_you_mean(setting.sampler, [*SAMPLERS, *FLOWS])} "
                         f"There are {', '.join([*SAMPLERS, *FLOWS])}")
    if setting.engine not in ENGINES:
        raise ValueError(f"unknown engine {setting.engine!r}{did_you_mean(setting.engine, ENGINES)} It is {' or '.join(ENGINES)}")
    if setting.nets not in NETS:
        raise ValueError(f"unknown nets {setting.nets!r}{did_you_mean(setting.nets, NETS)} They are {' or '.join(NETS)}")
    try:
        steps, guidance = int(setting.steps), float(setting.guidance)
        height, width = int(setting.height), int(setting.width)
    except (TypeError, ValueError) as error:
        raise ValueError(f"steps, guidance, height and width are numbers; got {setting.steps!r}, {setting.guidance!r}, "
                         f"{setting.height!r}, {setting.width!r}") from error
    if steps < 1 or steps != float(setting.steps) or not abs(guidance) < float("inf") or min(height, width) < 0:
        raise ValueError(f"cannot render {setting.steps} steps at guidance {setting.guidance}, {width} x {height}")
    return setting._replace(steps=steps, guidance=guidance, height=height, width=width)


def from_toml(path: str | os.PathLike[str]) -> tuple[list[Setting], list[str], list[int]]:
    """Settings, prompts and seeds from a file such as

        prompts = ["a large bear on a white background"]     # or: scenes = 32, that many drawn from the emoji grammar
        seeds = [42, 70]
        [[grid]]
        sampler = ["ddim", "heun"]
        steps = [10, 50]

    Several [[grid]] tables are joined. Raises ValueError that names the file and what is wrong in it.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the sweep file {path}: {error}") from error
    unknown = set(content) - {"prompts", "scenes", "seeds", "grid"}
    if unknown:
        raise ValueError(f"{path}: unknown key {', '.join(sorted(unknown))}; there are prompts, scenes, seeds and [[grid]]")
    try:
        settings = list(dict.fromkeys(s for table in content.get("grid", [{}]) for s in grid(**table)))
        seeds = [int(seed) for seed in as_list(content.get("seeds", [42, 70]))]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    prompts = [*content.get("prompts", []), *(scene_prompts(content["scenes"]) if "scenes" in content else [])]
    if not prompts:
        raise ValueError(f"{path} names no prompts; add prompts = [...] or scenes = N")
    return settings, prompts, seeds


def scene_prompts(count: int, seed: int = 1000) -> list[str]:
    """`count` different captions of the emoji world, half with one object and half with two, the same for the same seed."""
    import random

    from course.emoji.data import caption, random_scene

    rng, prompts = random.Random(seed), dict[str, None]()
    while len(prompts) < count:
        prompts[caption(random_scene(rng, objects=1 + len(prompts) % 2))] = None
    return list(prompts)


# ------------------------------------------------------------------------------------------------ the folder


def key(setting: Setting, prompt: str, seed: int) -> str:
    """A short name for one picture, the same on every machine."""
    told = tuple(setting) if setting.nets != "diffusers" else tuple(setting)[:-1]        # the names of pictures made before `nets`
    return hashlib.sha256(repr((told, prompt, seed)).encode()).hexdigest()[:16]


def picture_hash(picture: Image.Image) -> str:
    """sha256 of size and pixels (not of the PNG file, which depends on the encoder)."""
    return hashlib.sha256(repr(picture.size).encode() + picture.convert("RGB").tobytes()).hexdigest()


def read_rows(folder: str | os.PathLike[str]) -> list[dict[str, str]]:
    """All complete rows of a results folder, in the order of rendering; a line cut off by a kill is dropped.

    Raises ValueError when the folder holds no results or they are damaged, saying which file and what to do.
    """
    files = sorted(Path(folder).glob("rows*.csv"))
    if not files:
        raise ValueError(f"{folder} holds no results (no rows.csv): run `course sweep --out {folder}` first")
    rows: dict[str, dict[str, str]] = {}
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        complete = text[: text.rfind("\n") + 1]
        reader = csv.DictReader(complete.splitlines())
        if reader.fieldnames is None:
            continue
        if tuple(reader.fieldnames) not in (ROW, WITHOUT_NETS):
            raise ValueError(f"{file} is not a sweep of this version: its columns are {', '.join(reader.fieldnames)[:200]}; "
                             "move it away and run the sweep again")
        for number, row in enumerate(reader, start=2):
            row["nets"] = row.get("nets") or "diffusers"
            if None in row or None in row.values():
                raise ValueError(f"{file}, line {number} is damaged; remove that line and run the sweep again to fill it in")
            rows[row["key"]] = row
    return list(rows.values())


def setting_of(row: Mapping[str, str]) -> Setting:
    """The setting that a row was rendered with."""
    return check(Setting(**{field: row[field] for field in Setting._fields}))   # type: ignore[arg-type]


@contextmanager
def appending(folder: Path, rank: int = 0) -> Iterator[Any]:
    """rows.csv opened for adding lines: the header written if new, a cut-off last line removed, other sweeps kept out."""
    path = folder / ("rows.csv" if rank == 0 else f"rows-{rank}.csv")
    with path.open("a+b") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:            # Windows: no lock
            pass
        except OSError as error:
            raise ValueError(f"another sweep is writing to {path}; wait for it, or choose another --out") from error
        file.seek(0)
        content = file.read()
        old = (",".join(WITHOUT_NETS) + "\n").encode()
        if content.startswith(old):                                  # one column more from now on; it is empty in old lines
            content = (",".join(ROW) + "\n").encode() + content[len(old):]
            file.truncate(0)
            file.write(content)
        file.truncate(content.rfind(b"\n") + 1)
        if b"\n" not in content:
            file.write((",".join(ROW) + "\n").encode())
            file.flush()
        yield file


def append(file: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows and make sure they are on the disk."""
    import io

    text = io.StringIO()
    csv.DictWriter(text, ROW, lineterminator="\n").writerows(rows)
    file.write(text.getvalue().encode())
    file.flush()
    os.fsync(file.fileno())


# ------------------------------------------------------------------------------------------------ rendering


@functools.lru_cache(maxsize=2)
def components(model: str, vae: str, text_encoder: str, device: str, nets: str = "diffusers") -> Any:
    """The parts for a setting, loaded once per process."""
    from course.components import load_components, locate
    from course.render import quiet_libraries

    quiet_libraries()

    def find(part: str) -> Path | str:
        beside = Path(locate(model)) / part
        return beside if beside.is_dir() else part

    replacements: dict[str, Any] = {}
    if vae:
        replacements["vae"] = find(vae)
    if text_encoder:
        replacements["text_encoder"] = find(text_encoder)
        if text_encoder.startswith("text_encoder_"):       # a text encoder of another family brings its own tokenizer
            own = Path(replacements["text_encoder"]).with_name(text_encoder.replace("text_encoder", "tokenizer", 1))
            replacements |= {"tokenizer": own} if own.is_dir() else {}
    return load_components(model, device=device, nets=nets, **replacements)


def render(chunk: Chunk, folder: str, device: str = "auto", threads: int = 0) -> list[dict[str, Any]]:
    """Render one chunk, save its pictures, return their rows."""
    import diffusers
    import torch

    import course
    from course.components import diffusers_scheduler
    from course.pictures import save_picture
    from course.stable_diffusion import render_image

    if threads:
        torch.set_num_threads(threads)
    setting = chunk.setting
    parts = components(setting.model, setting.vae, setting.text_encoder, device, setting.nets)
    prompts, seeds = map(list, zip(*chunk.pairs, strict=True))
    scheduler: Any = setting.sampler
    if setting.engine == "diffusers":
        scheduler = diffusers_scheduler(setting.sampler, parts.scheduler.config)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    where = next(parts.unet.parameters())
    if where.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where.device)
    start = time.perf_counter()
    pictures = render_image(prompts, parts.vae, parts.unet, parts.tokenizer, parts.text_encoder, scheduler,
                            setting.height or None, setting.width or None, setting.guidance, setting.steps, seeds,
                            schedule=parts.scheduler.config, progress=False, callback=count)
    seconds = (time.perf_counter() - start) / len(pictures)
    rows = []
    for (prompt, seed), picture in zip(chunk.pairs, pictures, strict=True):
        name = key(setting, prompt, seed)
        save_picture(picture, Path(folder) / "pictures" / f"{name}.png", prompt=prompt, seed=seed, setting=setting.label())
        rows.append({"key": name, **setting._asdict(), "prompt": prompt, "seed": seed, "picture": f"pictures/{name}.png",
                     "sha256": picture_hash(picture), "seconds": f"{seconds:.4f}", "batch": len(pictures), "model_calls": calls,
                     "peak_memory_mb": peak_memory(where.device), "device": where.device.type,
                     "dtype": str(where.dtype).removeprefix("torch."), "course_version": course.__version__,
                     "torch_version": torch.__version__, "diffusers_version": diffusers.__version__,
                     "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    return rows


def peak_memory(device: Any) -> int:
    """Most memory used so far, in MiB: of the GPU for CUDA, of the process elsewhere (0 where the system does not say)."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) // 2**20
    try:
        import resource
        import sys
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 2**20 if sys.platform == "darwin" else peak // 2**10


def plan(settings: Sequence[Setting], prompts: Sequence[str], seeds: Sequence[int], done: Iterable[str] = (),
         batch: int = 16) -> list[Chunk]:
    """What is left to render, in chunks of at most `batch` pictures of one setting. Cheap settings come first."""
    chunks, done = [], set(done)
    for setting in sorted(settings, key=lambda s: s.steps):
        pairs = [(p, s) for p in prompts for s in seeds if key(setting, p, s) not in done]
        chunks += [Chunk(setting, tuple(pairs[i : i + batch])) for i in range(0, len(pairs), batch)]
    return chunks


def run(folder: str | os.PathLike[str], settings: Sequence[Setting], prompts: Sequence[str], seeds: Sequence[int], *,
        batch: int = 16, jobs: int = 1, dask: str | None = None, device: str = "auto", progress: bool = True) -> int:
    """Render all that is missing in `folder`; -> the number of pictures added.

    jobs      processes on this machine, one thread each when more than one
    dask      address of a Dask scheduler; its workers must see `folder` under the same path
    Under `accelerate launch` every process takes its share on its own GPU.

    Raises ValueError for settings that cannot be, OSError (disk full, say) after everything finished has been written.
    """
    from tqdm.auto import tqdm

    folder = Path(folder)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = read_rows(folder) if any(folder.glob("rows*.csv")) else []
    done = {row["key"] for row in rows if (folder / row["picture"]).exists()}
    chunks, shown = plan(settings, prompts, seeds, done, batch), progress
    processes, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))   # set by accelerate launch
    if processes > 1:
        from accelerate import PartialState

        device, shown = str(PartialState().device), progress and rank == 0
        chunks = chunks[rank::processes]
    for *where, nets in sorted({(c.setting.model, c.setting.vae, c.setting.text_encoder, c.setting.nets) for c in chunks}):
        if jobs == 1 and not dask:
            components(*where, device, nets)          # parts that do not load or fit fail here, before any work
    added = 0
    total = sum(len(chunk.pairs) for chunk in chunks)
    with appending(folder, rank) as file, tqdm(total=total, unit="picture", disable=not shown) as bar:
        for new in _map(chunks, str(folder), device, jobs, dask):
            try:
                append(file, new)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise OSError(errno.ENOSPC, f"the disk is full; {added} pictures were added. Free some space and run the "
                                  "same command again to go on", str(folder)) from error
                raise
            added += len(new)
            bar.update(len(new))
            bar.set_postfix_str(f"{new[0]['sampler']}, {new[0]['steps']} steps, {float(new[0]['seconds']):.2f} s a picture")
    return added


def _map(chunks: Sequence[Chunk], folder: str, device: str, jobs: int, dask: str | None) -> Iterator[list[dict[str, Any]]]:
    if jobs == 1 and not dask:
        yield from (render(chunk, folder, device) for chunk in chunks)
        return
    import joblib

    if dask:
        from distributed import Client

        client = Client(dask)
    with (joblib.parallel_config("dask") if dask else nullcontext()):
        parallel = joblib.Parallel(n_jobs=-1 if dask else jobs, return_as="generator_unordered")
        yield from parallel(joblib.delayed(render)(chunk, folder, device, 1) for chunk in chunks)
    if dask:
        client.close()
