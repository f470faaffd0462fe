"""Inference in a process of its own: sessions are painted there, and everything that talks to the world elsewhere."""
