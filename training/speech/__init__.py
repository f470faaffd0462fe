"""Speech whose phone times are known: text, synthetic voices, forced alignment, shards on disk."""
