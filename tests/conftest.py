"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import course  # noqa: F401   before torch: it says how torch's threads wait

os.environ.setdefault("HF_HUB_OFFLINE", "1")          # no test may need the network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")         # the tests run side by side; threads would only wait for each other

# A shell without job control makes what it starts in the background deaf to Ctrl-C, and with it all that we start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

try:          # `make test` tries the same inputs every time; `make fuzz` new ones, and what it finds becomes a case
    import hypothesis
except ImportError:          # a student's installation
    pass
else:
    hypothesis.settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
    hypothesis.settings.register_profile("fuzz", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("fuzz" if os.environ.get("COURSE_FUZZ") else "fixed")

ROOT = Path(__file__).resolve().parent


# What takes longest on one core, the longest first: begun last, it would leave the other workers without work.
LONG = ("course/emoji/test_emoji_teaching.py", "course/grading/test_release_and_templates.py", "course/grading/test_bulk.py",
        "course/equations/test_judging.py", "course/grading/test_command.py", "exercises/test_progress.py", "exercises/test_mine.py",
        "course/grading/test_sandbox.py", "course/grading/test_one_verdict.py", "course/lab/test_report.py", "course/grading/test_hostile.py")


def group_of(item: pytest.Item) -> str:
    """What stays in one worker: a file, since its tests share what they set up; a chapter of test_variants.py; a page of the site."""
    where = item.path.relative_to(ROOT) if item.path.is_relative_to(ROOT) else item.path
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return f"{where} {parameters.get('task_id', '')[:4] or (parameters.get('source', '') if where.parts[0] == 'site' else '')}".strip()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For workers side by side: which tests stay together, and the long ones first (with --no-loadscope-reorder, as in the Makefile); those of
    the site come last, since it is built meanwhile."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    if os.environ.get("PYTEST_XDIST_WORKER"):
        rank = {name: n for n, name in enumerate(LONG)}
        items.sort(key=lambda item: len(rank) + 1 if group_of(item).startswith("site") else rank.get(group_of(item), len(rank)))


@pytest.fixture(scope="session")
def published_in(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Where the site of this run is built, whatever the number of workers."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(request.config, "workerinput") else base) / "published"


@pytest.fixture(scope="session", autouse=True)
def site_in_the_making(request: pytest.FixtureRequest, published_in: Path):
    """The site takes minutes to build, and its tests come last: one worker has it built while all work on the other tests."""
    worker = getattr(request.config, "workerinput", {"workerid": "gw0"})["workerid"]
    if worker != "gw0" or os.environ.get("SITE_DIR") or not any("site" in item.fixturenames for item in request.session.items):
        yield
        return
    building = subprocess.Popen([sys.executable, "-m", "tests.site.build", str(published_in)], cwd=ROOT.parent, start_new_session=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    if building.poll() is None:                           # whoever stops early stops the build, too
        os.killpg(building.pid, signal.SIGTERM)
    building.wait()


# scheduler_config.json of CompVis/stable-diffusion-v1-4. It names no timestep_spacing: every scheduler class has its own.
SD_SCHEDULER = {
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.7.0.dev0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "num_train_timesteps": 1000, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
}


def tiny_tokenizer(max_length: int = 16):
    """A CLIPTokenizer that knows every byte, inside a word and at its end, and a handful of merges. 519 tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e</w>"), ("o", "n</w>"), ("a", "b"), ("i", "n")]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges, model_max_length=max_length)


@pytest.fixture(scope="session")
def byte_tokenizer():
    """max_length -> a CLIPTokenizer."""
    return tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder laid out like CompVis/stable-diffusion-v1-4: same classes, random weights, 64 x 64 pictures."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("tiny-model")
    state = torch.get_rng_state()
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    parts = {
        "vae": AutoencoderKL(
            block_out_channels=(8, 8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64),
        "unet": UNet2DConditionModel(
            sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32),
        "tokenizer": tokenizer,
        "text_encoder": CLIPTextModel(CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=16, projection_dim=32, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)),
    }
    torch.set_rng_state(state)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SD_SCHEDULER, indent=2))
    classes = {name: [type(part).__module__.split(".")[0], type(part).__name__] for name, part in parts.items()}
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "PNDMScheduler"], **classes,
             "safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None],
             "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder
