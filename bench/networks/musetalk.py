"""MuseTalk 1.5: one step of Stable Diffusion's U-Net on an 8-channel latent of 32 x 32, decoded to a face of 256 x 256.

Sources: TMElyralab/MuseTalk train_codes/musetalk.json (d73daf1), musetalk/models/unet.py (84120bc), README.md (0387c39:
"only UNet and the VAE decoder are involved"); MIT. What is heard: ten steps of whisper-tiny's five hidden states.
"""

from __future__ import annotations

from typing import Final

from bench.networks.diffusion import Decoder, Unet
from bench.networks.parts import Count, Part, System, smooth

CHANNELS: Final = 8  # the latent with its lower half masked, and the reference's
HEARD: Final = 384  # whisper-tiny's width
TOKENS: Final = 50
GRID: Final = 32
SD_UNET: Final = 859_520_964  # of Stable Diffusion 1: 4 channels, text of 768

MUSETALK: Final = System(
    "musetalk", "MuseTalk 1.5",
    (
        Part("unet", lambda: Unet(CHANNELS, HEARD),
             {"latent": (1, CHANNELS, GRID, GRID), "time": (1,), "heard": (1, TOKENS, HEARD)}, ("latent_out",),
             count=Count(3_400_076_549 / 4, "pytorch_model.bin, 3,400,076,549 bytes of float32 (TMElyralab/MuseTalk)")),
        Part("decoder", Decoder, {"latent": smooth(1, 4, GRID, GRID)}, ("frame",),
             count=Count(49_490_199, "VAE_Decoder, a public count of Stable Diffusion's parts")),
    ),
    (256, 256), "box around the face, lower half new", "1",
    "whisper-tiny, VAE encoder (once a film frame), face parsing, blend into the film's frame", "MIT",
    "TMElyralab/MuseTalk d73daf1", heavy=True,
)  # fmt: skip
