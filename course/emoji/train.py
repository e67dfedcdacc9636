"""Train the small Stable Diffusion from nothing: `course train emoji`."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from course.emoji.data import SIZE, Scene, caption, draw_batch, random_scene
from course.emoji.training import fit
from course.emoji.words import LENGTH
from course.samplers import SAMPLERS
from course.schedule import NoiseSchedule

KL = 3e-4                       # weight of the Kullback-Leibler term, per latent number
VAE_BATCH = 16
BATCH = 64                      # of the U-Net
TEXT_WIDTH = 128
EMPTY = 0.1                     # share of captions left out, for guidance
PARAPHRASED = 0.5               # share of captions in other than the canonical words
SNR_CAP = 5.0                   # min-SNR weighting (Hang et al. 2023, section 3.4)
SCHEDULER = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
             "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False,
             "prediction_type": "epsilon", "timestep_spacing": "leading", "trained_betas": None}     # of SD v1.4
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


def train_denoiser(out: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel | None = None,
                   text_encoder: CLIPTextModel | None = None, cached: int = 24_000, **budget) -> dict:
    """U-Net and text encoder together: predict the noise in the latents of a scene, given its caption."""
    seed = budget.get("seed", 0)
    mean, deviation, kept = encode_scenes(vae, cached, seed)
    scale = 1 / mean.std().item()
    vae.register_to_config(scaling_factor=scale)
    torch.manual_seed(seed)
    unet, text_encoder = unet or new_unet(), text_encoder or new_text_encoder(tokenizer)
    alpha_bar = NoiseSchedule.from_config(SCHEDULER).alphas_cumprod
    snr = alpha_bar / (1 - alpha_bar)
    weight = snr.clamp(max=SNR_CAP) / snr                               # of the squared error of the noise, (T,)

    def loss(step: int, rng: Random) -> Tensor:
        device = unet.device
        chosen = torch.tensor([rng.randrange(len(kept)) for _ in range(BATCH)])
        texts = ["" if rng.random() < EMPTY else caption(kept[i], rng if rng.random() < PARAPHRASED else None)
                 for i in chosen]
        z = scale * (mean[chosen] + deviation[chosen] * torch.randn(BATCH, 4, 8, 8, device=mean.device))
        t = torch.randint(0, len(alpha_bar), (BATCH,))
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
           seed: int = 0, sampler: str = "dpmpp_2m", negative: str = "", batch: int = 64, latents: bool = False) -> Tensor:
    """Pictures (N, 3, SIZE, SIZE) in [-1, 1] for prompts, in batches; picture i depends on seed and i only."""
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
        z = SAMPLERS[sampler].sample(denoise, noise, schedule, steps, generator=generator)
        pictures.append(z if latents else vae.decode(z / vae.config.scaling_factor).sample.clamp(-1, 1))
    return torch.cat(pictures).float().cpu()


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
