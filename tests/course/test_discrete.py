"""Samplers of tokens: diffusers' classes token for token, and the truth where the network is exact."""

import diffusers
import pytest
import torch

from course.samplers.discrete import Chain, Exact, gumbel, masked_share, unmask, vq_diffusion

K, LENGTH = 6, 16
WEIGHTS = torch.randn(K + 1, K, generator=torch.Generator().manual_seed(1))
PLACES = torch.arange(LENGTH)[None, :, None]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def network(x, t):
    return torch.sin(3 * WEIGHTS[x] + PLACES + t).log_softmax(2)


def a_law(places=4, tokens=3):
    """Far from independent: a few sequences have most of it."""
    law = torch.rand((tokens,) * places, generator=seeded(0)) ** 6
    return law / law.sum()


def distance(x, law):
    """Total variation between the sequences x and a law over them."""
    tokens = law.shape[0]
    index = sum(x[:, i] * tokens ** (law.ndim - 1 - i) for i in range(law.ndim))
    return (torch.bincount(index, minlength=law.numel()) / len(x) - law.flatten()).abs().sum().item() / 2


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("masking_schedule", ["cosine", "linear"])
def test_unmask_is_amused(steps, masking_schedule):
    scheduler = diffusers.AmusedScheduler(mask_token_id=K, masking_schedule=masking_schedule)
    scheduler.set_timesteps(steps)
    x, dice = torch.full((2, LENGTH), K), seeded(3)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, int(t)), t, x, generator=dice).prev_sample
    assert torch.equal(unmask(network, LENGTH, K, steps, 2, seeded(3), masking_schedule=masking_schedule), x)


@pytest.mark.parametrize("T", [2, 10, 100])
def test_vq_diffusion_is_diffusers(T):
    scheduler = diffusers.VQDiffusionScheduler(num_vec_classes=K + 1, num_train_timesteps=T)
    scheduler.set_timesteps(T)
    x, dice = torch.full((2, LENGTH), K), seeded(3)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, int(t)).transpose(1, 2), int(t), x, generator=dice).prev_sample
    assert torch.equal(vq_diffusion(network, Chain(K, T), LENGTH, 2, seeded(3)), x)


def test_the_posterior_is_bayes_rule():
    """Against the sum over x_0 of q(x_{t-1}, x_t | x_0) p(x_0) / q(x_t), in whole matrices."""
    chain, t = Chain(3, 10), 6

    def matrix(a, b, c):
        step = torch.full((4, 4), float(b.exp())) + torch.eye(4) * float(a.exp())
        step[:, 3], step[3] = float(c.exp()), torch.tensor([0.0, 0, 0, 1])
        return step                                                                       # row: from, column: to

    one = matrix(chain.log_a[t], chain.log_b[t], chain.log_c[t])
    before = matrix(chain.log_abar[t - 1], chain.log_bbar[t - 1], chain.log_cbar[t - 1])
    assert torch.allclose(before @ one, matrix(chain.log_abar[t], chain.log_bbar[t], chain.log_cbar[t]), atol=1e-6)
    prior = torch.tensor([0.5, 0.3, 0.2])
    for seen in (0, 3):
        joint = prior[:, None] * before[:3] * one[:, seen]                                # x_0, x_{t-1}
        truth = joint.sum(0) / joint.sum()
        p_x0 = (joint.sum(1) / joint.sum()).log()                                         # what an exact network says
        found = chain.posterior(p_x0[None, None], torch.tensor([[seen]]), t).softmax(2)[0, 0]
        assert torch.allclose(found, truth, atol=1e-5)


def test_an_exact_network_knows_the_law():
    law = a_law()
    net = Exact(law)
    assert torch.allclose(net(torch.full((1, 4), 3), 0)[0, 0].exp(), law.sum((1, 2, 3)).double(), atol=1e-6)
    given = net(torch.tensor([[0, 3, 1, 3]]), 0)[0].exp()
    assert torch.allclose(given[1], (law[0, :, 1].sum(1) / law[0, :, 1].sum()).double(), atol=1e-5)
    assert given[0].tolist() == [1, 0, 0]


def test_tokens_drawn_together_do_not_know_of_each_other():
    """As many steps as tokens draw from the law; fewer lose what ties tokens to one another. The chain of VQ-Diffusion loses it too, and
    finds it again with more steps."""
    law, n = a_law(4, 2), 3000
    net = Exact(law)
    chance = distance(net.draw(n, seeded(5)), law)
    at_once, one_each = (distance(unmask(net, 4, 2, steps, n, seeded(0), temperature=(50.0, 50.0)), law) for steps in (1, 4))
    assert chance < 0.06
    assert at_once > 0.3
    assert one_each < chance + 0.03
    short, long = (distance(vq_diffusion(Exact(law, chain), chain, 4, n, seeded(0)), law) for chain in (Chain(2, 2), Chain(2, 30)))
    assert short > 0.3
    assert long < 0.1


def test_noise_by_the_chain_has_its_shares():
    chain = Chain(3, 10)
    x = chain.noised(torch.zeros(20_000, 1, dtype=torch.int64), 5, seeded(0))
    kept, each, masked = (float(p[5].exp()) for p in (chain.log_abar, chain.log_bbar, chain.log_cbar))
    assert (torch.bincount(x[:, 0], minlength=4) / 20_000).tolist() == pytest.approx([kept + each, each, each, masked], abs=0.01)


def test_gumbel_draws_from_a_law():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(20_000, 3)
    drawn = (logits + gumbel(logits, seeded(0))).argmax(1)
    assert (torch.bincount(drawn) / 20_000).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.015)


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        unmask(network, LENGTH, K, 0)
    with pytest.raises(ValueError, match="'cosine' or 'linear'"):
        masked_share(1, 2, "square")
    with pytest.raises(ValueError, match=r"answered \(1, 16, 5\); it must be \(1, 16, 6\)"):
        unmask(lambda x, t: network(x, t)[..., :5], LENGTH, K, 2)
    with pytest.raises(ValueError, match=r"it must be \(1, 16, 6\)"):
        vq_diffusion(lambda x, t: network(x, t)[..., :5], Chain(K, 3), LENGTH)
    with pytest.raises(ValueError, match="at least one token and two steps"):
        Chain(3, 1)
    for law in (torch.ones(2, 2), torch.full((2, 3), 1 / 6), torch.tensor([1.5, -0.5])):
        with pytest.raises(ValueError, match="sums to 1"):
            Exact(law)
