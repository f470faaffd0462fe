"""Made-up prompts, and three made-up systems that heard them: late, noisy, and one that knows only Rhubarb's shapes."""

import random

from bench.cues import CLASSES_8, SHAPES, TO_8, Cue
from engine.motion.lips import VISEMES

PROMPTS, HOPS = 3, (180, 240, 301)
SHAPE_OF = {kind: letter for letter, kind in reversed(SHAPES.items())}


def truth(prompt: int) -> list[Cue]:
    """A sentence of random visemes on the 10 ms grid, silence around it."""
    chance, cues, hop = random.Random(100 + prompt), [Cue(0.0, "sil")], 25
    while hop < HOPS[prompt] - 40:
        cues.append(Cue(round(hop * 0.01, 2), chance.choice(VISEMES[1:] + ("PP",) * 5 + ("aa", "sil"))))
        hop += chance.randint(4, 13)
    return [*cues, Cue(round(hop * 0.01, 2), "sil")]


def late(prompt: int) -> list[Cue]:
    """The truth, 70 ms late and a little restless in time; every sixth viseme is another one, and
    some closures are false."""
    chance = random.Random(200 + prompt)
    cues = [Cue(round(c.time + 0.07 + chance.uniform(-0.015, 0.015), 4), c.viseme) for c in truth(prompt)]
    cues = [c._replace(viseme=chance.choice(VISEMES)) if chance.random() < 1 / 6 else c for c in cues]
    false = [Cue(round(c.time + 0.03, 4), "PP") for c in cues if chance.random() < 1 / 9]
    return sorted(cues + false)


def noisy(prompt: int) -> list[Cue]:
    """An early system with an opening of its own, and rows out of order here and there."""
    chance = random.Random(300 + prompt)
    cues = [
        Cue(max(0.0, round(c.time - 0.03, 2)), c.viseme, round(chance.uniform(0, 0.4) + 0.6 * (c.viseme == "aa"), 3))
        for c in truth(prompt)
    ]
    for i in range(4, len(cues) - 1, 9):
        cues[i], cues[i + 1] = cues[i + 1], cues[i]
    return cues


def shapes(prompt: int) -> list[Cue]:
    """The truth in Rhubarb's shapes, with its "E" that is not the viseme E."""
    return [Cue(c.time, SHAPE_OF[CLASSES_8[TO_8[VISEMES.index(c.viseme)]]]) for c in late(prompt)]


SYSTEMS = {"late": late, "noisy": noisy, "shapes": shapes}
