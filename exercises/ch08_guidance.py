"""Chapter 8: classifier-free guidance. `course check ch08` tells how far you are. Do not change your arguments."""

import torch
from torch import Tensor


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6) in the convention of Stable Diffusion: scale 1 is no guidance, 0
    forgets the prompt, and a scale below 0 walks away from it. (The paper counts from w = scale - 1.)

    Returns a tensor like conditional.
    """
    raise NotImplementedError


def guided_noise(denoise, x: Tensor, alpha_bar: float, negative: Tensor, positive: Tensor, scale: float) -> Tensor:
    """Both predictions out of *one* call of the network, then `guide`.

    The network is shown every image twice, first all of them with the negative contexts, then all with the positive ones.

    x: (B, C, H, W). negative, positive: (B, L, D), the embedded negative (or empty) prompt and the prompt.
    denoise: (x, alpha_bar, contexts), of shapes (2B, C, H, W), float, (2B, L, D) -> (2B, C, H, W). Returns a tensor like x.
    """
    raise NotImplementedError


def rescale_guidance(guided: Tensor, conditional: Tensor, share: float) -> Tensor:
    """Undo the over-exposure of strong guidance (Lin et al. 2024, section 3.4).

    Each image of `guided` is brought to the standard deviation of its image in `conditional`, taken over C, H and W, and mixed
    with what it was: share 1 is rescaled altogether, share 0 not at all.

    guided, conditional: (B, C, H, W). Returns a tensor like guided.
    """
    raise NotImplementedError
