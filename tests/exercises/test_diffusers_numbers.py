"""Numbers from diffusers that the checks compare with, so that a student's pytest need not import diffusers.

`python tests/exercises/test_diffusers_numbers.py` writes them anew; the test sees to it that they are what the installed
diffusers says. Every entry is {"arguments": ..., "result": ...} in the order of the exercise's own arguments.
"""

import json
import math
from pathlib import Path

import torch

NUMBERS = Path(__file__).parent / "diffusers_numbers.json"
SD = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEADING = {**SD, "steps_offset": 1, "timestep_spacing": "leading", "set_alpha_to_one": False, "clip_sample": False}
LINSPACE = {**SD, "timestep_spacing": "linspace"}


def network(x, alpha_bar):
    """The same bent denoiser as in test_ch06_samplers.py."""
    a = min(math.sqrt(float(alpha_bar)), 1 - 1e-9)
    v = a * a * 0.09 + 1 - a * a
    x0 = torch.tanh(a * x / v) * ((1 - a * a) / v) + x * (a * 0.09 / v)
    return (x - a * x0) / math.sqrt(1 - a * a)


def walk(scheduler, steps, x, scaled):
    """diffusers' own loop: (the alpha_bars of its model calls, the result). `scaled`: its state is x / alpha, not x."""
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma if scaled else x
    seen = []
    for i, t in enumerate(scheduler.timesteps):
        if scaled:
            sigma = scheduler.sigmas[i] if len(scheduler.sigmas) == len(scheduler.timesteps) + 1 else scheduler.sigmas[scheduler.step_index or 0]
            alpha_bar = 1 / (1 + float(sigma) ** 2)
        else:
            alpha_bar = float(scheduler.alphas_cumprod[t])
        seen.append(alpha_bar)
        eps = network(scheduler.scale_model_input(x, t), alpha_bar)
        x = scheduler.step(eps, t, x, return_dict=False)[0]
    return seen, x


def compute() -> dict:
    import diffusers
    from diffusers.models.embeddings import get_timestep_embedding
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    g = torch.Generator().manual_seed(20)
    x = torch.randn(1, 1, 4, 4, generator=g)
    image, noise = torch.randn(3, 2, 2, 2, generator=g), torch.randn(3, 2, 2, 2, generator=g)
    times = torch.tensor([1, 400, 999])
    ddpm = diffusers.DDPMScheduler(**{k: v for k, v in LEADING.items() if k != "set_alpha_to_one"})
    table = ddpm.alphas_cumprod
    out: dict = {"scaled_linear_betas": {"arguments": [0.00085, 0.012, 1000], "result": ddpm.betas[::111]},
                 "alphas_cumprod": {"arguments": [ddpm.betas[:40]], "result": table[:40]},
                 "cosine_betas": {"arguments": [40, 0.008, 0.999],
                                  "result": diffusers.DDPMScheduler(num_train_timesteps=40, beta_schedule="squaredcos_cap_v2").betas},
                 "add_noise": {"arguments": [image, noise, table[times]], "result": ddpm.add_noise(image, noise, times)},
                 "velocity": {"arguments": [image, noise, table[times]], "result": ddpm.get_velocity(image, noise, times)},
                 "timestep_embedding": {"arguments": [torch.tensor([1.0, 20.3878, 981.0]), 16, 10000.0], "result": get_timestep_embedding(
                     torch.tensor([1.0, 20.3878, 981.0]), 16, flip_sin_to_cos=True, downscale_freq_shift=0)},
                 "rescale_guidance": {"arguments": [3 * noise, image, 0.7], "result": rescale_noise_cfg(3 * noise, image, 0.7)}}

    ddim = diffusers.DDIMScheduler(**LEADING)
    ddim.set_timesteps(10)
    now, next = float(table[501]), float(table[401])
    out["ddim_step"] = {"arguments": [image, noise, now, next], "result": ddim.step(noise, 501, image, return_dict=False)[0]}
    ddpm.set_timesteps(10)
    fresh = torch.randn(image.shape, generator=torch.Generator().manual_seed(7))
    out["ddpm_step"] = {"arguments": [image, noise, now, next, fresh],
                        "result": ddpm.step(noise, 501, image, generator=torch.Generator().manual_seed(7), return_dict=False)[0]}
    for name, steps in (("leading_timesteps", 10), ("leading_timesteps_7", 7)):
        ddim.set_timesteps(steps)
        out[name] = {"arguments": [steps, 1000, 1], "result": ddim.timesteps.tolist()}
    euler = diffusers.EulerDiscreteScheduler(**LINSPACE)
    euler.set_timesteps(50)
    out["linspace_timesteps"] = {"arguments": [50, 1000], "result": [float(t) for t in euler.timesteps]}

    euler.set_timesteps(300)          # so many that some lie in a table cut short
    between = [i for i, t in enumerate(euler.timesteps) if t < 39][1:-1:4]
    out["ratio_at"] = {"arguments": [[float(euler.timesteps[i]) for i in between], table[:40]], "result": [float(euler.sigmas[i]) for i in between]}

    end = float(table[0])
    for name, scheduler in (("ddim_sample", ddim), ("plms_sample", diffusers.PNDMScheduler(**SD, skip_prk_steps=True, steps_offset=1))):
        seen, result = walk(scheduler, 10, x, scaled=False)
        out[name] = {"arguments": [x, [*dict.fromkeys(seen), end]], "result": result}
    heun = diffusers.HeunDiscreteScheduler(**LINSPACE)
    seen, result = walk(heun, 10, x, scaled=True)
    start = x * heun.init_noise_sigma * math.sqrt(seen[0])
    out["heun_sample"] = {"arguments": [start, [*dict.fromkeys(seen), 1.0]], "result": result}
    dpm = diffusers.DPMSolverMultistepScheduler(**LINSPACE)
    seen, result = walk(dpm, 10, x, scaled=False)
    out["rounded_timesteps"] = {"arguments": [10, 1000], "result": dpm.timesteps.tolist()}
    out["dpmpp_2m_sample"] = {"arguments": [x, [*seen, 1.0]], "result": result}
    lms = diffusers.LMSDiscreteScheduler(**LINSPACE)
    lms.set_timesteps(10)
    ratios = [float(s) for s in lms.sigmas]
    out["lms_weights"] = {"arguments": [ratios, 5, 4], "result": [lms.get_lms_coefficient(4, 5, j) for j in range(4)]}
    return json.loads(json.dumps({"diffusers": diffusers.__version__, **out}, default=lambda t: {"shape": list(t.shape), "values": t.flatten().tolist()}))


def flat(value) -> list[float]:
    if isinstance(value, dict):
        return [v for key in sorted(value) for v in flat(value[key])] if "values" not in value else value["values"]
    return [v for item in value for v in flat(item)] if isinstance(value, list) else [float(value)]


def test_the_stored_numbers_are_what_diffusers_says():
    stored, fresh = json.loads(NUMBERS.read_text()), compute()
    assert stored.keys() == fresh.keys()
    for name in stored.keys() - {"diffusers"}:
        a, b = flat(stored[name]), flat(fresh[name])
        assert len(a) == len(b)
        assert max(abs(p - q) / (1 + abs(q)) for p, q in zip(a, b, strict=True)) < 2e-6, name


if __name__ == "__main__":
    NUMBERS.write_text(json.dumps(compute(), indent=0) + "\n")
