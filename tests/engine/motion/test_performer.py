import pytest
import torch

from engine.motion.codec import CodecConfig
from engine.motion.condition import KNOWN_AT, SEMANTIC_AT, condition
from engine.motion.performance import GROUPS
from engine.motion.performer import HOPS, MASS, SILENCE, Performer, PerformerConfig

CONFIG = PerformerConfig(
    CodecConfig(codes=16, latent=6, fleeting=2, encoder=12, decoder=14),
    stem=12,
    width=20,
    ear=10,
    memory=24,
    embedding=8,
    hidden=12,
)


@pytest.fixture(scope="module")
def net() -> Performer:
    torch.manual_seed(0)
    net = Performer(CONFIG).eval()
    for parameter in net.parameters():  # no output may be trivially constant
        torch.nn.init.normal_(parameter, std=0.25)
    net.codec.quantizer.books.normal_(std=0.3)
    return net


def heard(batch: int, windows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """mel, condition and noise of a stream."""
    generator = torch.Generator().manual_seed(seed)
    mel = SILENCE + 2.0 * torch.rand(batch, HOPS * windows, 80, generator=generator)
    told = torch.from_numpy(condition("happy", 0.6, speaking=1.0)).repeat(batch, windows, 1)
    return mel, told, torch.rand(windows, batch, 8, 16, generator=generator)


@torch.no_grad()
def perform(
    net: Performer, mel: torch.Tensor, told: torch.Tensor, noise: torch.Tensor, heat: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    state, rows = net.initial_state(len(mel)), []
    for k, luck in enumerate(noise):
        part = mel[:, HOPS * k : HOPS * (k + 1)]
        motion, codes, meaning, state = net.step(part, told[:, k], luck, torch.full((len(mel), 1), heat), state)
        rows.append((motion, codes, meaning))
    motion, codes, meaning = zip(*rows, strict=True)
    return torch.cat(motion, 1), torch.stack(codes, 1), torch.stack(meaning, 1)


def test_what_is_drawn_step_by_step_is_what_training_saw(net: Performer) -> None:
    mel, told, noise = heard(2, 15)
    _, codes, meaning = perform(net, mel, told, noise)
    latent, rows = torch.zeros(2, net.codec.sizes[0]), []
    for chosen in codes.unbind(1):
        latent = net.codec.quantizer.follow(chosen.unflatten(1, (4, 2)), latent.unflatten(1, (4, 6))).flatten(1)
        rows.append(latent)
    with torch.no_grad():
        logits, thought = net(mel, told, codes, torch.stack(rows, 1))
    gumbel = -torch.log(-torch.log(noise.transpose(0, 1)))
    rare = logits < logits.amax(-1, keepdim=True) + torch.tensor(0.02).log()
    assert torch.equal((logits + gumbel).masked_fill(rare, -torch.inf).argmax(-1), codes)
    assert torch.allclose(thought.semantic, meaning, atol=1e-5)


def test_the_same_noise_performs_the_same_and_other_noise_something_else(net: Performer) -> None:
    mel, told, noise = heard(1, 20)
    first, again = perform(net, mel, told, noise), perform(net, mel, told, noise)
    assert torch.equal(first[0], again[0])
    other = perform(net, mel, told, heard(1, 20, seed=9)[2])
    assert not torch.equal(first[1], other[1])


def test_temperature_zero_ignores_the_noise(net: Performer) -> None:
    mel, told, noise = heard(1, 12)
    assert torch.equal(perform(net, mel, told, noise, 0.0)[1], perform(net, mel, told, 1.0 - noise, 0.0)[1])


def test_noise_of_zero_and_one_is_harmless(net: Performer) -> None:
    mel, told, noise = heard(1, 12)
    motion, _, _ = perform(net, mel, told, (noise > 0.5).float())
    assert torch.isfinite(motion).all()


def test_rows_of_a_batch_do_not_touch_each_other(net: Performer) -> None:
    mel, told, noise = heard(3, 10)
    together = perform(net, mel, told, noise)
    alone = perform(net, mel[1:2], told[1:2], noise[:, 1:2])
    assert torch.equal(together[1][1:2], alone[1])
    assert torch.allclose(together[0][1:2], alone[0], atol=1e-5)


def test_a_known_meaning_replaces_the_one_that_is_heard(net: Performer) -> None:
    told, meaning = torch.from_numpy(condition(meaning=[1.0] + [0.0] * 31))[None], torch.full((1, 32), 0.5)
    assert torch.equal(net.known(told, meaning)[:, SEMANTIC_AT.start - 1 : SEMANTIC_AT.stop - 1], told[:, SEMANTIC_AT])
    told[:, KNOWN_AT] = 0.0
    assert torch.equal(net.known(told, meaning)[:, SEMANTIC_AT.start - 1 : SEMANTIC_AT.stop - 1], meaning)


def test_how_neutral_one_is_changes_nothing(net: Performer) -> None:
    mel, told, noise = heard(1, 6)
    other = told.clone()
    other[..., 0] = 1.0
    assert torch.equal(perform(net, mel, told, noise)[0], perform(net, mel, other, noise)[0])


def test_the_state_stays_bounded_and_small(net: Performer) -> None:
    mel, told, noise = heard(1, 300)
    state = net.initial_state(1)
    sizes = []
    with torch.no_grad():
        for k in range(300):
            part = mel[:, HOPS * k : HOPS * (k + 1)]
            *_, state = net.step(part, told[:, k], noise[k], torch.ones(1, 1), state)
            sizes.append(float(state.abs().max()))
    assert max(sizes[150:]) < 2.0 * max(sizes[:150])
    full = Performer(PerformerConfig())
    assert 4 * full.state_size <= 1_000_000
    assert sum(p.numel() for p in full.parameters()) <= 6_000_000


def test_sizes_survive_json() -> None:
    import json

    assert PerformerConfig.from_json(json.loads(json.dumps(CONFIG.to_json()))) == CONFIG


def test_heads_and_arms_have_mass_and_eyes_do_not(net: Performer) -> None:
    import copy

    mel, told, noise = heard(1, 12)
    light = copy.deepcopy(net)
    light.held.zero_()
    heavy, free = perform(net, mel, told, noise)[0][0], perform(light, mel, told, noise)[0][0]
    for name, channels in GROUPS.items():
        frame, rows = net.codec.offset, []
        for wanted in free:
            frame = wanted + MASS.get(name, 0.0) * (frame - wanted)
            rows.append(frame)
        assert torch.allclose(heavy[:, list(channels)], torch.stack(rows)[:, list(channels)], atol=1e-5), name
