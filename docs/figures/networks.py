"""The networks of chapter 9: their shapes drawn from the code, what their blocks cost, and what they look at."""

import json
import time
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import nn

from course import emoji
from course.emoji.data import Scene, caption, place
from course.nets import as_components, as_part, autoencoder, blocks, load, load_part, published, text_encoder, unet, watching
from course.pictures import write_whole
from course.stable_diffusion import render_image

from .common import BLUE, ORANGE, axes, figure, picture
from .latent import linear_code, patches, psnr, scenes, unpatch

FULL_SIZE = Path(__file__).parents[1] / "assets" / "networks" / "full_size.json"      # PYTHONPATH=docs python -m figures.networks
BEAR = Scene(("bear", "horse"), "above", "white")


@cache
def nets():
    """The shipped model in the course's networks."""
    return load("emoji")


@cache
def full(kind: str) -> nn.Module:
    """A network of Stable Diffusion 1.4, without weights: only its shape."""
    make = {
        "unet": lambda: unet.UNet(published.UNET_1),
        "vae": lambda: autoencoder.Autoencoder(published.VAE),
        "text": lambda: text_encoder.TextEncoder(published.TEXT_1),
    }[kind]
    with torch.device("meta"):
        return make()


# ------------------------------------------------------------------------------------------------ diagrams


def box(text: str, what: type, kind: str = "") -> str:
    """One part of a network: a link to its lines in the reference."""
    home = f"{what.__module__}.{what.__qualname__}"
    return f'<a class="net-box {kind}" href="../../reference/networks/#{home}">{text}</a>'


def stack(level, side: int, resize: str) -> list[str]:
    """The boxes of one level of the U-Net."""
    boxes = []
    for i, resnet in enumerate(level.resnets):
        boxes.append(
            box(f"ResNet block<br>{resnet.conv1.in_channels} → {resnet.conv1.out_channels}", blocks.ResBlock, "net-res")
        )
        if i < len(level.attentions):
            heads = level.attentions[i].cross_attention.heads
            boxes.append(box(f"transformer<br>{side} × {side} places, {heads} heads", unet.SpatialTransformer, "net-attention"))
    if level.resize is not None:
        boxes.append(box(resize, type(level.resize), "net-resize"))
    return boxes


def unet_diagram() -> str:
    """The U-Net of Stable Diffusion 1.4 as it is built: levels from fine to coarse, the way down left, the way up right."""
    network, side, rows = full("unet"), published.UNET_1["sample_size"], []
    ups = list(network.up)[::-1]
    for i, (down, up) in enumerate(zip(network.down, ups, strict=True)):
        here = side >> i
        rows.append(
            f'<div class="net-row"><div class="net-way">{"".join(stack(down, here, "halve"))}</div>'
            f'<div class="net-kept">{here} × {here}<br>kept: {len(down.resnets) + (i == 0)} →</div>'
            f'<div class="net-way">{"".join(stack(up, here, "double"))}</div></div>'
        )
    mid = f'<div class="net-row"><div class="net-way net-middle">{"".join(stack(network.mid, side >> 3, ""))}</div></div>'
    ends = [
        f'<div class="net-row"><div class="net-way">{a}</div><div class="net-kept">{text}</div><div class="net-way">{b}</div></div>'
        for a, text, b in [
            (
                box(f"conv {network.conv_in.in_channels} → {network.conv_in.out_channels}", unet.UNet),
                "latent in, noise out",
                box(f"norm, silu, conv {network.conv_out.in_channels} → {network.conv_out.out_channels}", unet.UNet),
            )
        ]
    ]
    return _diagram(
        "unet-diagram",
        "".join([*ends, *rows, mid]),
        "The U-Net of Stable Diffusion 1.4, drawn from the module that the code builds. Read the left column downwards and the right "
        "one upwards, each line from its first box to its last. What is kept on the left goes across "
        "to the same line on the right. Each box leads to its lines.",
    )


def autoencoder_diagram() -> str:
    """The autoencoder of Stable Diffusion 1.4: encoder on top, decoder below."""
    network, rows = full("vae"), []
    for name, part, levels in (
        ("encoder", network.encoder, network.encoder.down),
        ("decoder", network.decoder, network.decoder.up),
    ):
        boxes, side = [], 512 if name == "encoder" else 64
        middle = box(
            f"ResNet block, attention, ResNet block<br>{part.mid.attention.q.in_features} channels, 64 × 64",
            autoencoder.Middle,
            "net-attention",
        )
        for level in levels:
            widths = f"{level.resnets[0].conv1.in_channels} → {level.resnets[-1].conv1.out_channels}"
            boxes.append(box(f"{len(level.resnets)} ResNet blocks<br>{widths}, {side} × {side}", autoencoder.Level, "net-res"))
            if not isinstance(level.resize, nn.Identity):
                boxes.append(box("halve" if name == "encoder" else "double", type(level.resize), "net-resize"))
                side = side // 2 if name == "encoder" else side * 2
        boxes = [*boxes, middle] if name == "encoder" else [middle, *boxes]
        first = box(
            f"conv {part.conv_in.in_channels} → {part.conv_in.out_channels}",
            autoencoder.Encoder if name == "encoder" else autoencoder.Decoder,
        )
        last = box(
            f"norm, silu, conv {part.conv_out.in_channels} → {part.conv_out.out_channels}",
            autoencoder.Gaussian if name == "encoder" else autoencoder.Decoder,
        )
        rows.append(
            f'<div class="net-row"><div class="net-kept">{name}</div><div class="net-way">{"".join([first, *boxes, last])}</div></div>'
        )
    return _diagram(
        "autoencoder-diagram",
        "".join(rows),
        "Stable Diffusion's autoencoder, drawn from the module that the code builds. The encoder ends in 8 numbers a place: 4 means and "
        "4 log variances. Each box leads to its lines.",
    )


def _diagram(name: str, content: str, caption_: str) -> str:
    return f'<figure class="computed net-diagram" id="fig-{name}">{content}<figcaption>{caption_}</figcaption></figure>\n'


# ------------------------------------------------------------------------------------------------ what it costs


KINDS = {
    "ResNet blocks": blocks.ResBlock,
    "self-attention": "self_attention",
    "cross-attention": "cross_attention",
    "GEGLU": unet.FeedForward,
    "halving and doubling": (blocks.Halve, blocks.Double),
}


def _is(name: str, module: nn.Module, kind) -> bool:
    return name.endswith(kind) if isinstance(kind, str) else isinstance(module, kind)


def time_shares(net: nn.Module, x: torch.Tensor, words: torch.Tensor, rounds: int) -> dict[str, float]:
    """The share of each kind of block in the time of one call: processor time by hooks, one thread, the shortest of several calls."""
    spent: dict[str, float] = {}
    best: dict[str, float] = {}
    starts: list[float] = []
    hooks = []
    for name, module in net.named_modules():
        kind = next((k for k, v in KINDS.items() if _is(name, module, v)), None)
        if kind:
            hooks.append(module.register_forward_pre_hook(lambda m, a: starts.append(time.thread_time())))
            hooks.append(
                module.register_forward_hook(
                    lambda m, a, o, k=kind: spent.__setitem__(k, spent.get(k, 0) + time.thread_time() - starts.pop())
                )
            )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(rounds):
                spent.clear()
                start = time.thread_time()
                net(x, 500, words)
                spent["everything"] = time.thread_time() - start
                best = {k: min(v, best.get(k, v)) for k, v in spent.items()}
    finally:
        torch.set_num_threads(threads)
        for hook in hooks:
            hook.remove()
    return {kind: best[kind] / best["everything"] for kind in KINDS}


def weight_shares(net: nn.Module) -> dict[str, float]:
    """The share of each kind of block in the number of weights."""
    count = sum(p.numel() for p in net.parameters())
    return {
        kind: sum(p.numel() for name, m in net.named_modules() if _is(name, m, what) for p in m.parameters()) / count
        for kind, what in KINDS.items()
    }


def costs(rounds: int = 15) -> str:
    """A table in Markdown: the share of each kind of block in the weights and in the time of a call, for Stable Diffusion 1.4's
    U-Net (the time is on record, see `main`) and for the shipped one (measured here and now)."""
    small = nets().unet
    columns = [
        weight_shares(full("unet")),
        json.loads(FULL_SIZE.read_text("utf-8"))["shares"],
        weight_shares(small),
        time_shares(small, torch.randn(8, 4, 8, 8), torch.randn(8, 24, 128), rounds),
    ]
    lines = ["| kind of block | SD 1.4: parameters | SD 1.4: time | shipped: parameters | shipped: time |", "|---|---|---|---|---|"]
    lines += [f"| {kind} | " + " | ".join(f"{column[kind]:.0%}" for column in columns) + " |" for kind in KINDS]
    rest = [max(1 - sum(column.values()), 0) for column in columns]
    lines.append("| the rest: norms, projections, time, first and last layer | " + " | ".join(f"{x:.0%}" for x in rest) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure one call of Stable Diffusion 1.4's U-Net at its own size, and write it down. Random weights: they change no time."""
    net = unet.UNet(published.UNET_1).eval()
    shares = time_shares(net, torch.randn(1, 4, 64, 64), torch.randn(1, 77, 768), rounds=3)
    note = {
        "what": "share of the processor time of one call, float32, latent 64 x 64, one thread, shortest of 3",
        "torch": torch.__version__,
        "shares": {kind: round(share, 4) for kind, share in shares.items()},
    }
    FULL_SIZE.parent.mkdir(exist_ok=True)
    write_whole(FULL_SIZE, lambda path: path.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ what it keeps


def through_the_code() -> tuple[str, dict[str, float]]:
    """Scenes through four codes of 4 numbers a patch or none: (figure, decibels of each)."""
    train, test = scenes(300), scenes(6, seed=1)
    mean, basis = linear_code(train, 4)
    linear = unpatch((patches(test) - mean) @ basis @ basis.T + mean, len(test), 64)
    x = torch.from_numpy(test).permute(0, 3, 1, 2)
    light = load_part("vae", emoji.folder() / "vae_tiny")
    with torch.no_grad():
        learned = nets().vae.decode(nets().vae.encode(x).mean).permute(0, 2, 3, 1).numpy()
        tiny = light.decode(light.encode(x)).permute(0, 2, 3, 1).numpy()
    rows = {"original": test, "autoencoder": learned, "light autoencoder": tiny, "best linear code": linear}
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows.values()], axis=0)
    pixels = ((sheet.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)
    image = Image.fromarray(pixels).resize((6 * 96, 4 * 96), Image.Resampling.NEAREST)
    drawn = picture(
        image,
        "learned-code",
        "Four rows of six emoji: the originals, two nearly as sharp, and one of blur.",
        "From top to bottom: originals; through the shipped autoencoder; through the light one; through the best linear "
        "code. All three codes "
        "have 4 numbers for each patch of 8 × 8 pixels.",
    )
    return drawn, {name: psnr(row.clip(-1, 1), test) for name, row in rows.items() if name != "original"}


def channels() -> str:
    """The four channels of a latent, as grey pictures beside the picture that they are of."""
    x = torch.from_numpy(scenes(4, seed=3)).permute(0, 3, 1, 2)
    with torch.no_grad():
        latent = nets().vae.encode(x).mean.numpy()  # (4, 4, 8, 8)
    drawn, panels = axes(4, 5, width=6.2, height=4.8)
    for row, code, original in zip(panels, latent, x.permute(0, 2, 3, 1).numpy(), strict=True):
        row[0].imshow(((original + 1) / 2).clip(0, 1), interpolation="nearest")
        for panel, channel in zip(row[1:], code, strict=True):
            panel.imshow(channel, cmap="gray", interpolation="nearest")
    for panel in panels.flat:
        panel.set_axis_off()
    return figure(
        drawn,
        "latent-channels",
        "Four emoji, each with the four channels of its latent as grey pictures of 8 by 8 cells.",
        "Four pictures and the four channels of their latents, 8 × 8 each. One can make out where something is, and what not is there; no "
        "channel is a colour, and none is brightness alone.",
    )


# ------------------------------------------------------------------------------------------------ what it looks at


@cache
def looked_at(scene: Scene = BEAR, seed: int = 5, steps: int = 12) -> tuple[Image.Image, np.ndarray, list[str]]:
    """A scene painted from its caption by the course's networks: (picture, how much each 8 x 8 place looked at each token, mean over
    steps, layers and heads, (8, 8, L), the tokens)."""
    parts, shares = as_components(nets()), []

    def watch(name: str, seen: torch.Tensor) -> None:
        side = int(seen.shape[2] ** 0.5)
        grid = seen[-1].mean(0).unflatten(0, (side, side))  # of the picture with the prompt
        shares.append(grid.repeat_interleave(8 // side, 0).repeat_interleave(8 // side, 1))

    with watching(parts.unet, watch):
        image = render_image(
            caption(scene),
            *parts[:4],
            "dpmpp_2m",
            num_steps=steps,
            seed=seed,
            guidance_scale=3.0,
            schedule=parts.scheduler.config,
            progress=False,
        )[0]
    tokens = ["start", *nets().tokenizer.tokenize(caption(scene)), "end"]
    return image, torch.stack(shares).mean(0).numpy(), [token.removesuffix("</w>") for token in tokens]


def inside(scene: Scene, seed: int) -> dict[str, float]:
    """For each object's word: how many times more a place inside its true box looks at it than a place outside."""
    _, shares, tokens = looked_at(scene, seed)
    ratios = {}
    for name, pixels, x, y in place(scene):
        cells = np.zeros((8, 8), dtype=bool)
        cells[y // 8 : (y + pixels) // 8, x // 8 : (x + pixels) // 8] = True
        shown = shares[..., tokens.index(name)]
        ratios[name] = float(shown[cells].mean() / shown[~cells].mean())
    return ratios


def attention_maps() -> str:
    """The picture with the true boxes, and the map of each word with them."""
    image, shares, tokens = looked_at()
    boxes = {name: (x, y, x + pixels, y + pixels) for name, pixels, x, y in place(BEAR)}
    drawn, panels = axes(1, 5, width=9.0, height=2.2)
    panels[0].imshow(image.resize((256, 256), Image.Resampling.NEAREST), extent=(0, 64, 64, 0))
    panels[0].set_title("the picture")
    for panel, word in zip(panels[1:], ("bear", "above", "horse", "white"), strict=True):
        panel.imshow(shares[..., tokens.index(word)], cmap="magma", extent=(0, 64, 64, 0), interpolation="nearest")
        panel.set_title(word)
    for panel in panels:
        for (left, top, right, bottom), colour in zip(boxes.values(), (ORANGE, BLUE), strict=True):
            panel.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=colour, lw=1.4)
        panel.set(xticks=[], yticks=[], xlim=(-1, 65), ylim=(65, -1))
    return figure(
        drawn,
        "attention-maps",
        "A picture of a bear above a horse, and four maps of how much each place looks at the words bear, above, horse "
        "and white; each has the true boxes of the two drawn in.",
        "Which places look at which word, mean over steps, layers and heads. Orange: the box in which the drawing of this scene "
        "has its bear; blue: "
        "its horse. The network was never told of boxes.",
        stack=False,
    )


def random_pairs(count: int, seed: int = 0) -> list[Scene]:
    """Scenes of two objects, all above each other or side by side."""
    from course.emoji.data import random_scene

    rng = Random(seed)
    return [random_scene(rng, objects=2) for _ in range(count)]


# ------------------------------------------------------------------------------------------------ the transformer beside the U-Net


@cache
def painted_by(which: str, count: int = 48, steps: int = 20) -> tuple[torch.Tensor, list[Scene]]:
    """Pictures of scenes of two objects by the shipped U-Net ("unet") or transformer ("dit"), from the same noise."""
    from course.emoji.train import sample

    parts = as_components(nets())
    denoiser = parts.unet if which == "unet" else as_part(load_part("unet", emoji.folder() / "dit"))
    wanted = random_pairs(count, seed=7)
    captions = [caption(scene) for scene in wanted]
    return sample(captions, parts.vae, denoiser, parts.tokenizer, parts.text_encoder, steps=steps, seed=9), wanted


def gap() -> str:
    """A table in Markdown: what each learned in, and how many of its pictures a probe finds right, with 95% intervals."""

    from course.emoji.probe import load_probe, verdicts
    from course.lab.metrics import wilson

    made = json.loads((emoji.folder() / "training.json").read_text("utf-8"))
    unet_steps = made["denoiser"]["steps"] + made["denoiser"]["after"]["steps"]
    lines = ["| denoiser | parameters | steps of training | both objects and their relation right |", "|---|---|---|---|"]
    for which, name, steps in (("unet", "U-Net", unet_steps), ("dit", "diffusion transformer", made["dit"]["steps"])):
        pictures, wanted = painted_by(which)
        right = int(verdicts(load_probe(), pictures, wanted)["all"].sum())
        interval = wilson(right, len(wanted))
        network = nets().unet if which == "unet" else load_part("unet", emoji.folder() / "dit")
        size = sum(p.numel() for p in network.parameters())
        share = f"{right} of {len(wanted)} ({interval.low:.0%} to {interval.high:.0%})"
        lines.append(f"| {name} | {size / 1e6:.1f} million | {steps:,} | {share} |")
    return "\n".join(lines) + "\n"


def side_by_side(columns: int = 8) -> str:
    """The same captions and noise: above by the U-Net, below by the transformer."""
    rows = [painted_by(which)[0][:columns] for which in ("unet", "dit")]
    sheet = torch.cat([torch.cat(list(row), 2) for row in rows], 1).permute(1, 2, 0)
    pixels = ((sheet + 1) * 127.5).round().to(torch.uint8).numpy()
    captions = "; ".join(caption(scene) for scene in painted_by("unet")[1][:columns])
    return picture(
        Image.fromarray(pixels),
        "unet-and-dit",
        f"Two rows of eight pictures of two emoji each, sharp ones above and blurred ones below. Asked for: {captions}.",
        "The same captions and the same noise: above by the U-Net, below by the transformer, whose training was short.",
        width=columns * 80,
    )


if __name__ == "__main__":
    main()
