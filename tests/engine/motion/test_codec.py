import pytest
import torch

from engine.motion.codec import LEAK, MANNER, CodecConfig, DeltaQuantizer, PerformanceCodec
from engine.motion.condition import CONDITION
from engine.motion.performance import GROUPS, PERFORMANCE

CONFIG = CodecConfig(codes=16, latent=6, fleeting=2, encoder=12, decoder=14)


@pytest.fixture(scope="module")
def codec() -> PerformanceCodec:
    torch.manual_seed(0)
    codec = PerformanceCodec(CONFIG)
    codec.scale.uniform_(0.1, 2.0)
    codec.offset.normal_()
    codec.usual.normal_()
    codec.start(*scene(12, 40))
    for stack in [s for group in codec.coders for s in (group.encoder, group.decoder)]:
        for block in stack.blocks:  # start as identities: make them count
            torch.nn.init.normal_(block.mix.weight, std=0.2)
    return codec.eval()


def scene(batch: int, windows: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random motion (B, 2T, 96) and a condition (B, T, 48)."""
    generator = torch.Generator().manual_seed(seed)
    walk = torch.randn(batch, 2 * windows, PERFORMANCE, generator=generator).cumsum(1) * 0.1
    return walk, torch.rand(batch, windows, CONDITION, generator=generator)


def test_every_channel_is_in_one_group() -> None:
    assert sorted(channel for group in GROUPS.values() for channel in group) == list(range(PERFORMANCE))


def test_decoded_code_by_code_equals_decoded_at_once(codec: PerformanceCodec) -> None:
    motion, condition = scene(3, 17)
    with torch.no_grad():
        whole = codec(motion, condition)
        stepwise = codec.decode(whole.codes, condition)
    assert torch.allclose(stepwise, codec.colour(whole.motion, condition[..., MANNER]), atol=1e-4)


def test_the_encoder_hears_nothing_of_the_future(codec: PerformanceCodec) -> None:
    motion, condition = scene(2, 20)
    changed = motion.clone()
    changed[:, 24:] += 1.0
    before, after = codec.encode(motion, condition)[0], codec.encode(changed, condition)[0]
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.equal(before[:, 12:], after[:, 12:])


def test_latents_stay_bounded_for_any_codes(codec: PerformanceCodec) -> None:
    codes = torch.randint(CONFIG.codes, (1, 400, codec.books), generator=torch.Generator().manual_seed(2))
    past, manner = torch.zeros(1, sum(codec.sizes)), torch.zeros(1, len(MANNER))
    with torch.no_grad():
        for chosen in codes.unbind(1):
            _, past = codec.step(chosen, manner, past)
    longest = codec.quantizer.books.norm(dim=-1).amax(2).sum(0).max()
    assert past[:, : codec.sizes[0]].abs().max() <= longest / (1.0 - LEAK)


def test_more_levels_follow_more_closely() -> None:
    torch.manual_seed(3)
    quantizer = DeltaQuantizer(2, CodecConfig(levels=3, codes=32, latent=4, fleeting=1)).eval()
    wanted = torch.randn(8, 60, 2, 4).cumsum(1) * 0.2
    quantizer.start(wanted)
    errors = []
    for levels in (1, 2, 3):
        keep = (torch.arange(3) < levels).float().repeat(8, 1)
        errors.append(float(quantizer(wanted, keep).commitment))
    assert errors[0] > errors[1] > errors[2]


def test_codebooks_follow_their_members_and_dead_codes_come_back() -> None:
    torch.manual_seed(4)
    quantizer = DeltaQuantizer(1, CodecConfig(levels=1, codes=16, latent=2, fleeting=0)).train()
    quantizer.books[..., 8:, :] = 1e3  # nobody chooses these
    quantizer.sums.copy_(quantizer.books)
    wanted = torch.randn(8, 50, 1, 2)
    first = float(quantizer(wanted).commitment)
    for _ in range(300):
        last = float(quantizer(wanted).commitment)
    assert last < 0.3 * first
    assert float(quantizer.books.abs().max()) < 10.0


def test_gradients_pass_the_quantizer(codec: PerformanceCodec) -> None:
    motion, condition = scene(2, 8)
    made = codec(motion, condition)
    gradient = torch.autograd.grad(made.motion.square().mean(), codec.coders[0].axes.weight)[0]
    assert float(gradient.abs().max()) > 0.0


def test_half_a_window_is_refused(codec: PerformanceCodec) -> None:
    motion, condition = scene(1, 4)
    with pytest.raises(ValueError, match="2 frames at a time: 7 frames do not fill 4"):
        codec(motion[:, :7], condition)
