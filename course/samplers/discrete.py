"""Two samplers for pictures made of tokens: nothing is added up, so noise is a token that was changed or masked.

    unmask        all tokens masked; guess all, keep those guessed most surely, mask the rest again      aMUSEd, MaskGIT
    vq_diffusion  Ho et al.'s posterior for a chain that changes or masks one token at a time             VQ-Diffusion

A network is predict(tokens, t) -> log-probabilities of the clean tokens, (B, L, K) over K tokens, for tokens (B, L) in 0 .. K, where K is
the mask. `Exact` is such a network with the truth in it, for a law small enough to be written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

Predict = Callable[[Tensor, int], Tensor]     # (tokens (B, L), step t) -> log p(clean token), (B, L, K)

# ------------------------------------------------------------------------------------------------ masks


def masked_share(step: int, steps: int, masking_schedule: str = "cosine") -> float:
    """The share of tokens that is masked after `step` of `steps` steps, from 1 to 0 (Chang et al. 2022, section 3.2)."""
    done = step / steps
    if masking_schedule not in ("cosine", "linear"):
        raise ValueError(f"masking_schedule is {masking_schedule!r}; it is 'cosine' or 'linear'")
    return float(torch.cos(torch.tensor(done) * math.pi / 2)) if masking_schedule == "cosine" else 1 - done    # float32, as diffusers'


def gumbel(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """-log(-log u): the largest of log p + gumbel is a draw from p."""
    u = torch.zeros_like(like).uniform_(0, 1, generator=generator)
    return -torch.log((-torch.log(u.clamp(1e-20))).clamp(1e-20))


def unmask(predict: Predict, length: int, tokens: int, steps: int, batch: int = 1, generator: torch.Generator | None = None, *,
           masking_schedule: str = "cosine", temperature: tuple[float, float] = (2.0, 0.0)) -> Tensor:
    """Start from nothing but masks; in each step draw every masked token, and mask those again whose draw was least likely
    (Chang et al. 2022, "MaskGIT"; Patil et al. 2024, "aMUSEd"). -> tokens (batch, length) in 0 .. tokens - 1.

    temperature: how much chance there is in what is kept, at the first step and at the last. Tokens drawn in one step do not know of
    each other: with as many steps as tokens, one is kept each time, and a network that is exact draws from the law itself if the
    temperature is high enough to leave the order to chance (and not so high that known tokens are masked again).
    Raises ValueError for no steps, no length, or a schedule that is not known.
    """
    if steps < 1 or length < 1 or tokens < 1:
        raise ValueError(f"steps, length and tokens must be at least 1; got {steps}, {length} and {tokens}")
    x = torch.full((batch, length), tokens)                                                # (B, L)
    heat = torch.linspace(*temperature, steps)
    for step in range(1, steps + 1):
        probs = _probabilities(predict, x, steps - step, tokens)                            # (B, L, K)
        drawn = torch.multinomial(probs.reshape(-1, tokens), 1, generator=generator)[:, 0].view(x.shape)
        unknown = x == tokens
        drawn = torch.where(unknown, drawn, x)
        if step == steps:
            return drawn
        again = (length * torch.tensor(masked_share(step, steps, masking_schedule))).floor().long()
        again = torch.minimum(unknown.sum(1, keepdim=True) - 1, again).clamp(min=1)         # (B, 1), some and not all
        sure = probs.gather(2, drawn[:, :, None])[:, :, 0]
        sure = torch.where(unknown, sure, torch.finfo(sure.dtype).max)                      # what is known stays
        sure = torch.log(sure.clamp(1e-20)) + heat[step - 1] * gumbel(sure, generator)
        least = sure.sort(dim=1).values.gather(1, again)
        x = torch.where(sure < least, tokens, drawn)
    return x


def _probabilities(predict: Predict, x: Tensor, t: int, tokens: int) -> Tensor:
    logits = predict(x, t)
    if logits.shape != (*x.shape, tokens):
        raise ValueError(f"the network was given {tuple(x.shape)} and answered {tuple(logits.shape)}; it must be {(*x.shape, tokens)}")
    return logits.softmax(2)


# ------------------------------------------------------------------------------------------------ a chain of changes


class Chain:
    """Tokens that are kept, changed to any other, or masked: at step t with the probabilities a_t (+ b_t), b_t each and c_t, and a mask
    stays a mask (Gu et al. 2022, "VQ-Diffusion", eq. 7). The cumulative ones fall and rise evenly, as in its code.

    log_a, log_b, log_c: of one step; log_abar, log_bbar, log_cbar: from the clean token to step t. float32 (T,).
    """

    def __init__(self, tokens: int, T: int = 100, alpha: tuple[float, float] = (0.99999, 0.000009),
                 gamma: tuple[float, float] = (0.000009, 0.99999)) -> None:
        if tokens < 1 or T < 2:
            raise ValueError(f"a chain needs at least one token and two steps; got {tokens} and {T}")
        self.tokens, self.T = tokens, T
        even = torch.arange(T, dtype=torch.float64) / (T - 1)
        one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        abar, cbar = (start + even * (end - start) for start, end in (alpha, gamma))        # (T,)
        a = abar / torch.cat([one, abar[:-1]])
        c = 1 - (1 - cbar) / (1 - torch.cat([none, cbar[:-1]]))
        self.log_a, self.log_c = a.log().float(), c.log().float()
        self.log_b = ((1 - a - c) / tokens).log().float()
        self.log_abar, self.log_cbar = abar.log().float(), cbar.log().float()
        self.log_bbar = ((1 - abar - cbar) / tokens).log().float()

    def noised(self, x0: Tensor, t: int, generator: torch.Generator | None = None) -> Tensor:
        """A draw from q(x_t | x_0), shaped like x0 (B, L)."""
        kept, each, masked = (float(p[t].exp()) for p in (self.log_abar, self.log_bbar, self.log_cbar))
        probs = torch.full((*x0.shape, self.tokens + 1), each)
        probs[..., -1] = masked
        probs.scatter_add_(-1, x0[..., None], torch.full((*x0.shape, 1), kept))
        return torch.multinomial(probs.reshape(-1, self.tokens + 1), 1, generator=generator)[:, 0].view(x0.shape)

    def likelihood(self, x: Tensor, t: int, cumulative: bool) -> Tensor:
        """log q(x_t | token) of a clean token (cumulative) or of the token one step before, for each token: (B, L, K) and, of one step,
        (B, L, K + 1) with the mask as the last."""
        a, b, c = (self.log_abar, self.log_bbar, self.log_cbar) if cumulative else (self.log_a, self.log_b, self.log_c)
        same = torch.nn.functional.one_hot(x, self.tokens + 1).float().clamp(min=1e-30).log()      # (B, L, K + 1)
        found = torch.where((x == self.tokens)[:, :, None], c[t], (same[:, :, :-1] + a[t]).logaddexp(b[t]))
        return found if cumulative else torch.cat([found, same[:, :, -1:]], 2)

    def posterior(self, log_x0: Tensor, x: Tensor, t: int) -> Tensor:
        """log p(x_{t-1} | x_t) = log sum_{x_0} q(x_{t-1} | x_t, x_0) p(x_0 | x_t), by Bayes' rule as for any chain: (B, L, K + 1)
        (Gu et al. 2022, eq. 11). log_x0 (B, L, K)."""
        q = log_x0 - self.likelihood(x, t, cumulative=True)
        total = q.logsumexp(2, keepdim=True)
        a, b, c = self.log_abar[t - 1], self.log_bbar[t - 1], self.log_cbar[t - 1]
        before = torch.cat([((q - total) + a).logaddexp(b), c.expand(*x.shape, 1)], 2)
        return before + self.likelihood(x, t, cumulative=False) + total


def vq_diffusion(predict: Predict, chain: Chain, length: int, batch: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """All tokens masked, then T draws of x_{t-1} from `Chain.posterior` at the network's guess (Gu et al. 2022, algorithm 2).
    -> tokens (batch, length) in 0 .. K - 1."""
    x = torch.full((batch, length), chain.tokens)                                           # (B, L)
    for t in reversed(range(chain.T)):
        log_x0 = predict(x, t)                                                              # (B, L, K)
        if log_x0.shape != (*x.shape, chain.tokens):
            raise ValueError(f"the network was given {tuple(x.shape)} and answered {tuple(log_x0.shape)}; it must be "
                             f"{(*x.shape, chain.tokens)}")
        logits = log_x0 if t == 0 else chain.posterior(log_x0, x, t)
        # over the tokens first, as diffusers lays them out: the same numbers for the same seed
        u = torch.rand(logits.transpose(1, 2).shape, generator=generator).transpose(1, 2)
        x = (logits - torch.log(-torch.log(u + 1e-30) + 1e-30)).argmax(2)
    return x


# ------------------------------------------------------------------------------------------------ the truth


class Exact:
    """The network that knows: p(clean token at place i | what is seen) for a law over all sequences of `length` tokens, summed out.

    law (K,) * length, probabilities that sum to 1. chain: what made the noise; None: masks only.
    """

    def __init__(self, law: Tensor, chain: Chain | None = None) -> None:
        if law.ndim < 1 or len(set(law.shape)) != 1 or (law < 0).any() or abs(float(law.sum()) - 1) > 1e-6:
            raise ValueError("a law has one axis for each place, each with an entry for each token, and sums to 1")
        self.tokens, self.length, self.chain = law.shape[0], law.ndim, chain
        self.sequences = torch.tensor(list(product(range(self.tokens), repeat=self.length)))       # (S, L)
        self.log_law = law.double().flatten().log()                                                # (S,)

    def __call__(self, x: Tensor, t: int) -> Tensor:
        """log p(x_0[i] = k | x_t = x): x (B, L) -> (B, L, K)."""
        if self.chain is None:
            same = torch.nn.functional.one_hot(x, self.tokens + 1)[:, :, :-1].double().log()
            seen = torch.where((x == self.tokens)[:, :, None], 0.0, same)
        else:
            seen = self.chain.likelihood(x, t, cumulative=True).double()                            # (B, L, K)
        places = torch.arange(self.length)
        weight = self.log_law + seen[:, places, self.sequences].sum(2)                              # (B, S)
        is_token = torch.nn.functional.one_hot(self.sequences, self.tokens).double().log()          # (S, L, K), 0 or -inf
        found = (weight[:, :, None, None] + is_token).logsumexp(1)                                  # (B, L, K)
        return found - found.logsumexp(2, keepdim=True)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Sequences from the law, (count, L)."""
        return self.sequences[torch.multinomial(self.log_law.exp(), count, replacement=True, generator=generator)]
