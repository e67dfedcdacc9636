"""Train the small Stable Diffusion from nothing: `course train emoji`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import BertConfig, BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from course.emoji import seal
from course.emoji.data import SIZE, Scene, caption, draw_batch, mistaken, random_scene
from course.emoji.probe import Probe, save_probe, train_probe
from course.emoji.training import fit, load_average, write_start
from course.emoji.words import LENGTH, write_bert_tokenizer, write_clip_tokenizer
from course.flow import FlowSchedule, euler
from course.nets import as_part
from course.nets.dit import DiT
from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule
from course.training import denoising_loss

KL = 3e-4                       # weight of the Kullback-Leibler term, per latent number
VAE_BATCH = 16
BATCH = 32                      # of the U-Net
TEXT_WIDTH = 128
EMPTY = 0.1                     # share of captions left out, for guidance
MISTAKEN = 0.25                 # share of captions wrong about their picture, as on the web: guidance is there to mend that
PARAPHRASED = 0.5               # share of captions in other than the canonical words
SNR_CAP = 5.0                   # min-SNR weighting (Hang et al. 2023, section 3.4)
SCHEDULER = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
             "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False,
             "trained_betas": None}     # of SD v1.4, which names no timestep_spacing: each sampler keeps its own
SHOWN = ["a large astronaut on a blue background", "a large bear on a green background",
         "a bear above a horse on a white background", "a cat left of a rocket on a pink background",
         "a small robot on a yellow background", "a large building on a grey background",
         "a camera left of a tree on a white background", "an astronaut above a horse on a black background"]


def scenes(rng: Random, count: int) -> Tensor:
    """Fresh training pictures (N, 3, SIZE, SIZE) in [-1, 1]."""
    return torch.from_numpy(draw_batch([random_scene(rng) for _ in range(count)], rng))


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=SIZE, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(16, 32, 64, 96), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def picture_loss(y: Tensor, x: Tensor) -> Tensor:
    """2 (y - x)^2 + 0.3 |y - x| + 0.3 |difference of neighbours|, means. Without the square colours stay grey."""
    d = y - x
    edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    return 2 * d.square().mean() + 0.3 * d.abs().mean() + 0.3 * edges


def train_autoencoder(out: Path, **budget) -> dict:
    torch.manual_seed(budget.get("seed", 0))
    vae = new_autoencoder()

    def loss(step: int, rng: Random) -> Tensor:
        x = scenes(rng, VAE_BATCH).to(vae.device)
        posterior = vae.encode(x).latent_dist
        mean, logvar = posterior.mean, posterior.logvar
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return picture_loss(vae.decode(posterior.sample()).sample, x) + KL * kl

    fixed = scenes(Random("shown"), 32)

    def show(file: Path) -> None:
        posterior = vae.encode(fixed.to(vae.device)).latent_dist
        y = vae.decode(posterior.mean).sample.cpu().clamp(-1, 1)
        psnr = 10 * torch.log10(4 / F.mse_loss(y, fixed))
        print(f"{file.name}: PSNR {psnr:.2f} dB, latents: mean {posterior.mean.mean((0, 2, 3)).tolist()}, deviation "
              f"{posterior.mean.std((0, 2, 3)).tolist()}, own noise {posterior.std.mean():.4f}", flush=True)
        save_grid(torch.stack([fixed, y], 1).flatten(0, 1), file, columns=8)

    return fit("autoencoder", {"vae": vae}, loss, out=out, show=show, **budget)


# ------------------------------------------------------------------------------------- the U-Net and the text encoder

def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH, attention_head_dim=4, norm_num_groups=16,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    ))


def token_ids(tokenizer, texts: list[str]) -> Tensor:
    return tokenizer(texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, count: int, seed: object) -> tuple[Tensor, Tensor, list[Scene]]:
    """Posterior mean and deviation (count, 4, 8, 8), unscaled, of `count` jittered training scenes, and the scenes."""
    rng = Random(f"{seed}/latents")
    means, deviations, kept = [], [], []
    for _ in tqdm(range(0, count, 64), desc="latents", mininterval=5):
        batch = [random_scene(rng) for _ in range(64)]
        posterior = vae.encode(torch.from_numpy(draw_batch(batch, rng)).to(vae.device)).latent_dist
        means.append(posterior.mean)
        deviations.append(posterior.std)
        kept += batch
    return torch.cat(means), torch.cat(deviations), kept


def words_for(scene: Scene, rng: Random) -> str:
    """What training says of a scene: mostly its caption, in canonical or other words; at times another's, at times nothing."""
    if rng.random() < EMPTY:
        return ""
    if rng.random() < MISTAKEN:
        scene = mistaken(scene, rng)
    return caption(scene, rng if rng.random() < PARAPHRASED else None)


def latents_and_words(vae: AutoencoderKL, cached: int, seed: object) -> Callable[[Random], tuple[Tensor, list[str]]]:
    """draw(rng) -> scaled latents (BATCH, 4, 8, 8) of scenes chosen from `cached` many, and what training says of each."""
    mean, deviation, kept = encode_scenes(vae, cached, seed)

    def draw(rng: Random) -> tuple[Tensor, list[str]]:
        chosen = torch.tensor([rng.randrange(len(kept)) for _ in range(BATCH)])
        texts = [words_for(kept[i], rng) for i in chosen]
        noise = torch.randn(BATCH, 4, 8, 8, device=mean.device)
        return vae.config.scaling_factor * (mean[chosen] + deviation[chosen] * noise), texts

    return draw


def spread_times(times: int) -> Tensor:
    """One whole time from each 1/BATCH of 0 .. times-1, int64 (BATCH,): as uniform as independent ones, and less noisy."""
    return ((torch.arange(BATCH) + torch.rand(BATCH)) / BATCH * times).long()


def train_denoiser(out: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, cached: int = 24_000, **budget) -> dict:
    """U-Net and text encoder together: predict the noise in the latents of a scene, given its caption (now and then a wrong one)."""
    seed = budget.get("seed", 0)
    draw = latents_and_words(vae, cached, seed)
    torch.manual_seed(seed)
    unet, text_encoder = new_unet(), new_text_encoder(tokenizer)
    alpha_bar = NoiseSchedule.from_config(SCHEDULER).alphas_cumprod
    snr = alpha_bar / (1 - alpha_bar)
    weight = snr.clamp(max=SNR_CAP) / snr                               # of the squared error of the noise, (T,)

    def loss(step: int, rng: Random) -> Tensor:
        device = unet.device
        z, texts = draw(rng)
        t = spread_times(len(alpha_bar))
        a = alpha_bar[t].view(-1, 1, 1, 1).to(device)
        noise = torch.randn(BATCH, 4, 8, 8, device=device)
        words = text_encoder(token_ids(tokenizer, texts).to(device))[0]                     # (B, LENGTH, TEXT_WIDTH)
        guess = unet(a.sqrt() * z.to(device) + (1 - a).sqrt() * noise, t.to(device), words).sample
        return ((guess - noise).square().mean((1, 2, 3)) * weight[t].to(device)).mean()

    def show(file: Path) -> None:
        save_grid(sample(SHOWN * 4, vae, unet, tokenizer, text_encoder, steps=20, seed=1), file, len(SHOWN))

    return fit("denoiser", {"unet": unet, "text_encoder": text_encoder}, loss, out=out, show=show, **budget)


@torch.no_grad()
def sample(prompts: list[str], vae, unet, tokenizer, text_encoder, *, guidance: float = 3.0, steps: int = 25,
           seed: int = 0, sampler: str = "dpmpp_2m", negative: str = "", batch: int = 64, latents: bool = False,
           flow: bool = False) -> Tensor:
    """Pictures (N, 3, SIZE, SIZE) in [-1, 1] for prompts, in batches; picture i depends on seed and i only.

    With `flow` the U-Net is one that answers a velocity, and Euler's method follows it (`sampler` is not used).
    """
    schedule = NoiseSchedule.from_config(SCHEDULER)
    pictures = []
    for start in range(0, len(prompts), batch):
        part = prompts[start:start + batch]
        words = text_encoder(token_ids(tokenizer, part).to(unet.device))[0]
        empty = text_encoder(token_ids(tokenizer, [negative]).to(unet.device))[0].expand(len(part), -1, -1)
        noise = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed * 1_000_003 + start + i))
                             for i in range(len(part))]).to(unet.device)

        def denoise(x: Tensor, level, words=words, empty=empty) -> Tensor:
            if guidance == 1:
                return unet(x, level.t, words).sample
            without, with_text = unet(torch.cat([x, x]), level.t, torch.cat([empty, words])).sample.chunk(2)
            return without + guidance * (with_text - without)

        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        if flow:
            z = euler(denoise, noise, FlowSchedule().levels(steps))
        else:
            z = SAMPLERS[sampler].sample(denoise, noise, schedule, steps, generator=generator)
        pictures.append(z if latents else vae.decode(z / vae.config.scaling_factor).sample.clamp(-1, 1))
    return torch.cat(pictures).float().cpu()


def loss_by_words(network: nn.Module, draw: Callable[[Random], tuple[Tensor, list[str]]], schedule: NoiseSchedule | FlowSchedule,
                  text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, name: str) -> Callable[[int, Random], Tensor]:
    """loss(step, rng) of a network that is told the captions by a text encoder which stays as it is; `name` is one of PER_X0."""
    def loss(step: int, rng: Random) -> Tensor:
        z, texts = draw(rng)
        level = schedule.gather(spread_times(len(schedule)), z.ndim)
        noise = torch.randn(BATCH, 4, 8, 8, device=z.device)
        with torch.no_grad():
            words = text_encoder(token_ids(tokenizer, texts).to(text_encoder.device))[0]    # (B, LENGTH, TEXT_WIDTH)
        return denoising_loss(lambda x, level: network(x, level.t, words).sample, z, noise, level, schedule.prediction_type, name)

    return loss


def train_flow(out: Path, vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer,
               cached: int = 24_000, **budget) -> dict:
    """A U-Net that answers the velocity eps - x_0 of a flow, from the weights of the one that answers eps, with its text encoder
    as it is: the losses differ in what they ask, and in nothing else."""
    seed = budget.get("seed", 0) + 3
    draw, flow = latents_and_words(vae, cached, seed), FlowSchedule()
    torch.manual_seed(seed)
    unet.requires_grad_(True)

    loss = loss_by_words(unet, draw, flow, text_encoder, tokenizer, "flow_prediction")

    def show(file: Path) -> None:
        pictures = sample(SHOWN * 4, vae, unet, tokenizer, text_encoder, steps=20, seed=1, flow=True)
        save_grid(pictures, file, len(SHOWN))

    return fit("flow", {"unet_flow": unet}, loss, out=out, show=show, lr=1e-2, adam_lr=1e-3, **budget)


DIT = {"_class_name": "DiT", "sample_size": 8, "in_channels": 4, "out_channels": 4, "patch_size": 2, "width": 192, "num_layers": 4,
       "num_attention_heads": 6, "cross_attention_dim": TEXT_WIDTH}


def train_dit(out: Path, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, cached: int = 24_000,
              **budget) -> dict:
    """A diffusion transformer with the U-Net's task and loss, from nothing; the text encoder is the U-Net's and stays as it is."""
    seed = budget.get("seed", 0) + 4
    draw, schedule = latents_and_words(vae, cached, seed), NoiseSchedule.from_config(SCHEDULER)
    torch.manual_seed(seed)
    network = as_part(new_dit())

    loss = loss_by_words(network, draw, schedule, text_encoder, tokenizer, "min_snr")

    def show(file: Path) -> None:
        save_grid(sample(SHOWN * 4, vae, network, tokenizer, text_encoder, steps=20, seed=1), file, len(SHOWN))

    return fit("dit", {"dit": network.net}, loss, out=out, show=show, **budget)


def new_dit() -> DiT:
    network = DiT(DIT)
    network.config = DIT  # type: ignore[assignment]  # as diffusers' networks have one
    return network


# ------------------------------------------------------------------------------------------------- parts to swap in

def new_tiny() -> AutoencoderTiny:
    return AutoencoderTiny(
        in_channels=3, out_channels=3, latent_channels=4, encoder_block_out_channels=(24,) * 4,
        decoder_block_out_channels=(32,) * 4, num_encoder_blocks=(1, 1, 2, 4), num_decoder_blocks=(8, 6, 2, 1),
    )


def train_tiny(out: Path, vae: AutoencoderKL, **budget) -> dict:
    """A light autoencoder for the same latents (as TAESD is for Stable Diffusion): it works in scaled latents."""
    torch.manual_seed(budget.get("seed", 0) + 1)
    tiny, scale = new_tiny(), vae.config.scaling_factor

    def loss(step: int, rng: Random) -> Tensor:
        x = scenes(rng, VAE_BATCH).to(tiny.device)
        with torch.no_grad():
            posterior = vae.encode(x.to(vae.device)).latent_dist
        z, mean = ((scale * v).to(x.device) for v in (posterior.sample(), posterior.mean))
        return picture_loss(tiny.decode(z).sample, x) + 0.1 * F.mse_loss(tiny.encode(x).latents, mean)

    fixed = scenes(Random("shown"), 32)

    def show(file: Path) -> None:
        z = scale * vae.encode(fixed.to(vae.device)).latent_dist.mean.to(tiny.device)
        y = tiny.decode(z).sample.cpu().clamp(-1, 1)
        print(f"{file.name}: PSNR {10 * torch.log10(4 / F.mse_loss(y, fixed)):.2f} dB", flush=True)
        save_grid(torch.stack([fixed, y], 1).flatten(0, 1), file, columns=8)

    return fit("tiny", {"vae_tiny": tiny}, loss, out=out, show=show, **budget)


def new_bert(tokenizer: BertTokenizer) -> BertModel:
    return BertModel(BertConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    ))


def train_bert(out: Path, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, bert_tokenizer: BertTokenizer,
               **budget) -> dict:
    """A BERT that says to the U-Net what the CLIP text encoder would: both give one vector per word at the same place."""
    torch.manual_seed(budget.get("seed", 0) + 2)
    bert = new_bert(bert_tokenizer)

    def loss(step: int, rng: Random) -> Tensor:
        texts = ["" if rng.random() < EMPTY else
                 caption(random_scene(rng), rng if rng.random() < PARAPHRASED else None) for _ in range(BATCH)]
        with torch.no_grad():
            wanted = text_encoder(token_ids(tokenizer, texts).to(text_encoder.device))[0]
        said = bert(token_ids(bert_tokenizer, texts).to(bert.device))[0]
        return F.mse_loss(said, wanted.to(said.device)) / wanted.var().to(said.device)

    return fit("bert", {"text_encoder_bert": bert}, loss, out=out, **budget)


# -------------------------------------------------------------------------------------------------------- all together

STAGES = ("autoencoder", "denoiser", "probe", "tiny", "bert", "flow", "dit", "classifier")
SHARES = {"autoencoder": 0.16, "denoiser": 0.4, "probe": 0.03, "tiny": 0.05, "bert": 0.03, "flow": 0.13, "dit": 0.2,
          "classifier": 0.03}                                                                       # of --minutes


def train(out: Path = Path("runs/emoji"), weights: Path | None = None, stages: Sequence[str] = STAGES,
          minutes: float | None = None, steps: int | None = None, seed: int = 0, resume: bool = False,
          from_shipped: bool = False, threads: int | None = None) -> None:
    """Train the stages in order and write the model folder `weights` (default: out/weights).

    minutes are shared out over all stages (SHARES), or all go to the one that is asked for; steps count for each stage.
    resume goes on from each stage's checkpoint in `out`; from_shipped puts the weights that ship into `out` first, for every
    stage that has no checkpoint there, so that a stage goes on from them and the others are complete.
    Stages that need another one's result take it from `out`; ValueError says which is missing.
    """
    unknown = set(stages) - set(STAGES)
    if unknown:
        raise ValueError(f"unknown stage {', '.join(sorted(unknown))}; stages are {', '.join(STAGES)}")
    if threads:
        torch.set_num_threads(threads)
    whole = sum(SHARES[s] for s in stages)
    accelerator = Accelerator()
    if from_shipped and accelerator.is_main_process:
        unpack(out)
    accelerator.wait_for_everyone()

    def budget(stage: str) -> dict:
        share = None if minutes is None else minutes * SHARES[stage] / whole
        return {"minutes": share, "steps": steps, "seed": seed, "resume": resume or from_shipped}

    records = _records(out)
    for stage in STAGES:
        if stage not in stages:
            continue
        if stage == "autoencoder":
            records[stage] = train_autoencoder(out, **budget(stage))
        elif stage == "denoiser":
            with accelerator.main_process_first():
                tokenizer = write_clip_tokenizer(out / "tokenizer")
            records[stage] = train_denoiser(out, _autoencoder(out), tokenizer, **budget(stage))
        elif stage in ("probe", "classifier"):
            records[stage] = train_probe(out, stage, **budget(stage))[1]
        elif stage == "tiny":
            records[stage] = train_tiny(out, _autoencoder(out), **budget(stage))
        elif stage == "flow":
            with accelerator.main_process_first():
                unet, text_encoder, tokenizer = _denoiser(out)
            records[stage] = train_flow(out, _autoencoder(out), unet, text_encoder, tokenizer, **budget(stage))
        elif stage == "dit":
            with accelerator.main_process_first():
                _, text_encoder, tokenizer = _denoiser(out)
            records[stage] = train_dit(out, _autoencoder(out), text_encoder, tokenizer, **budget(stage))
        else:
            with accelerator.main_process_first():
                _, text_encoder, tokenizer = _denoiser(out)
                bert_tokenizer = write_bert_tokenizer(out / "tokenizer_bert")
            records[stage] = train_bert(out, text_encoder, tokenizer, bert_tokenizer, **budget(stage))
        if accelerator.is_main_process:
            (out / "records.json").write_text(json.dumps(records, indent=2) + "\n")
    if accelerator.is_main_process and all((out / stage / "checkpoint.pt").exists() for stage in STAGES):
        export(out, weights or out / "weights")


def unpack(out: Path) -> None:
    """Write the shipped weights into `out` as the checkpoints of stages that have none there, to go on from."""
    from course.emoji import folder
    shipped = folder()
    files = {"autoencoder": {"vae": "vae"}, "denoiser": {"unet": "unet", "text_encoder": "text_encoder"}, "probe": {"probe": "probe"},
             "tiny": {"vae_tiny": "vae_tiny"}, "bert": {"text_encoder_bert": "text_encoder_bert"}, "flow": {"unet_flow": "unet_flow"},
             "dit": {"dit": "dit"}, "classifier": {"classifier": "classifier"}}
    made, records = json.loads((shipped / "training.json").read_text()), _records(out)
    for stage, parts in files.items():
        if stage not in made or (out / stage / "checkpoint.pt").exists():
            continue
        loaded = {name: {k: v.float() if v.dtype.is_floating_point else v for k, v in load_file(file).items()}
                  for name, part in parts.items() for file in (shipped / part).glob("*.safetensors")}
        write_start(out / stage / "checkpoint.pt", loaded, made[stage])
        records[stage] = made[stage]
    (out / "records.json").write_text(json.dumps(records, indent=2) + "\n")


def _records(out: Path) -> dict:
    file = out / "records.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _checkpoint(out: Path, stage: str) -> Path:
    file = out / stage / "checkpoint.pt"
    if not file.exists():
        raise ValueError(f"{file} is missing: train the stage first (course train emoji --stage {stage} --out {out})")
    return file


def _autoencoder(out: Path) -> AutoencoderKL:
    """The trained autoencoder, with the scaling factor that makes its latents' deviation 1."""
    vae = new_autoencoder()
    load_average(_checkpoint(out, "autoencoder"), {"vae": vae})
    mean, _, _ = encode_scenes(vae, 1024, "scale")
    vae.register_to_config(scaling_factor=round(1 / mean.std().item(), 5))
    return vae.requires_grad_(False).to(Accelerator().device)


def _denoiser(out: Path) -> tuple[UNet2DConditionModel, CLIPTextModel, CLIPTokenizer]:
    tokenizer = write_clip_tokenizer(out / "tokenizer")
    unet, text_encoder = new_unet(), new_text_encoder(tokenizer)
    load_average(_checkpoint(out, "denoiser"), {"unet": unet, "text_encoder": text_encoder})
    return unet.requires_grad_(False), text_encoder.requires_grad_(False), tokenizer


def export(out: Path, weights: Path) -> None:
    """Write the model folder, laid out like CompVis/stable-diffusion-v1-4, from the averaged weights of the checkpoints.

    The text encoders stay float32 (transformers would compute in whatever is stored), the rest is stored as float16.
    The folder is made aside and then moved into place.
    """
    aside = weights.with_name(weights.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    vae = _autoencoder(out).cpu()
    unet, text_encoder, _ = _denoiser(out)
    tokenizer = write_clip_tokenizer(aside / "tokenizer")
    scheduler = PNDMScheduler.from_config(SCHEDULER)
    StableDiffusionPipeline(vae=vae, unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler,
                            safety_checker=None, feature_extractor=None, requires_safety_checker=False).save_config(aside)
    (aside / "scheduler").mkdir()
    config = {"_class_name": "PNDMScheduler", "_diffusers_version": diffusers.__version__, **SCHEDULER}
    (aside / "scheduler" / "scheduler_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    text_encoder.save_pretrained(aside / "text_encoder")
    unet.half().save_pretrained(aside / "unet")
    vae.half().save_pretrained(aside / "vae")
    if (out / "tiny" / "checkpoint.pt").exists():
        tiny = new_tiny()
        load_average(out / "tiny" / "checkpoint.pt", {"vae_tiny": tiny})
        tiny.half().save_pretrained(aside / "vae_tiny")
    if (out / "bert" / "checkpoint.pt").exists():
        bert = new_bert(write_bert_tokenizer(aside / "tokenizer_bert"))
        load_average(out / "bert" / "checkpoint.pt", {"text_encoder_bert": bert})
        bert.save_pretrained(aside / "text_encoder_bert")
    if (out / "flow" / "checkpoint.pt").exists():
        flow = new_unet()
        load_average(out / "flow" / "checkpoint.pt", {"unet_flow": flow})
        flow.half().save_pretrained(aside / "unet_flow")
        FlowMatchEulerDiscreteScheduler(num_train_timesteps=len(FlowSchedule())).save_pretrained(aside / "scheduler_flow")
    if (out / "dit" / "checkpoint.pt").exists():
        dit = new_dit()
        load_average(out / "dit" / "checkpoint.pt", {"dit": dit})
        (aside / "dit").mkdir()
        (aside / "dit" / "config.json").write_text(json.dumps(DIT, indent=2) + "\n")
        save_file(dit.half().state_dict(), aside / "dit" / "model.safetensors")
    for stage in ("probe", "classifier"):
        if (out / stage / "checkpoint.pt").exists():
            probe = Probe()
            load_average(out / stage / "checkpoint.pt", {stage: probe})
            save_probe(probe, aside / stage)
    (aside / "training.json").write_text(json.dumps(_records(out), indent=2) + "\n")
    for file in aside.rglob("*.safetensors"):
        file.chmod(0o644)                           # safetensors writes files that only their owner can read
    seal(aside)
    shutil.rmtree(weights, ignore_errors=True)
    os.replace(aside, weights)


def save_grid(x: Tensor, file: Path, columns: int) -> None:
    """Write pictures (N, 3, H, W) in [-1, 1] side by side."""
    n, _, h, w = x.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * h, columns * w, 3), np.uint8)
    for i, picture in enumerate(((x.clamp(-1, 1) + 1) * 127.5 + 0.5).byte().permute(0, 2, 3, 1).cpu().numpy()):
        r, c = divmod(i, columns)
        sheet[r * h:(r + 1) * h, c * w:(c + 1) * w] = picture
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(file)
