"""Dubbing: another voice for the mouth of a filmed person. Everything else stays the film's own."""
