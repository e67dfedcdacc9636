"""The networks of Stable Diffusion, from scratch: short enough to read, and the published weights fit inside.

    tokenizer.py      a string -> numbers: byte-pair encoding
    text_encoder.py   numbers -> vectors: CLIP's causal transformer
    bert.py           the same job by BERT: words in pieces, and a transformer that hides nothing
    unet.py           noisy latent, time, vectors -> noise: ResNet blocks and transformers, down and up
    dit.py            the same job by a transformer alone
    autoencoder.py    picture <-> latent, and a light imitation
    blocks.py         what they share: the ResNet block, attention, halving and doubling
    loading.py        weights in, by a rule for the names; and out again as parts that every pipeline takes
"""

from course.nets.blocks import watching
from course.nets.loading import Nets, as_components, as_part, build, load, load_part

__all__ = ["Nets", "as_components", "as_part", "build", "load", "load_part", "watching"]
