"""Offline: data making, choreography and the training of every network. Needs the extra ``train``."""
