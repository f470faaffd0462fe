"""Skin: blendshapes, linear blend skinning and smooth normals of one body.

``reference`` says what is computed, ``cpu`` (numba) and ``kernel.cu`` (CUDA C++) compute the same faster.
"""
