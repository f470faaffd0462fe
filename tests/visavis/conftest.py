"""The fixture of sound devices, for every test of this folder that asks for it."""

from .sound import machine

__all__ = ["machine"]
