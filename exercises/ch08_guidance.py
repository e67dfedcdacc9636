"""Chapter 8: classifier-free guidance. `course check ch08` tells how far you are. Do not change your arguments."""

import torch
from torch import Tensor


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance in the convention of Stable Diffusion.

        guided = unconditional + scale * (conditional - unconditional)

    so scale 1 is no guidance and 0 forgets the prompt. (Ho and Salimans 2022 count from w = scale - 1.)
    Returns a tensor like conditional.
    """
    raise NotImplementedError


def guided_noise(denoise, x: Tensor, alpha_bar: float, negative: Tensor, positive: Tensor, scale: float) -> Tensor:
    """Both predictions out of *one* call of the network, then `guide`.

    Put x in a batch twice and the two contexts in a batch in the order [negative, positive], call
    denoise(x_twice, alpha_bar, contexts) once, and take the two halves apart.

    x: (B, C, H, W). negative, positive: (B, L, D), the embedded negative (or empty) prompt and the prompt.
    denoise: (2B, C, H, W), float, (2B, L, D) -> (2B, C, H, W). Returns a tensor like x.
    """
    raise NotImplementedError


def rescale_guidance(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Undo the over-exposure of strong guidance (Lin et al. 2024, section 3.4, eq. 15-16).

        rescaled = guided * std(conditional) / std(guided)      std over C, H, W, for each image of the batch
        result = share * rescaled + (1 - share) * guided

    guided, conditional: (B, C, H, W). Returns a tensor like guided.
    """
    raise NotImplementedError
