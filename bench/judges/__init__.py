"""Independent judges of pictures and clips: they know nothing of how a picture came to be."""
