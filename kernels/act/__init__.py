"""Acting: what lips, performance and manner make together, as the Motion of one frame (engine/motion/actor.py).

``reference`` says what is computed, ``kernel.cu`` computes it. What the engine chooses (which actions are the mouth's,
how far the eyes turn) comes in as a struct Rules, and the frame's manner as a struct Manners; both are filled by
kernels.layout.table from the names that kernel.cu declares.
"""
