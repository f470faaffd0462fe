"""Bake: from a parametric human (anny) and procedural paint to an avatar pack, offline and by seed."""
