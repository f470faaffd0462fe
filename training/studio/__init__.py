"""The studio: synthetic people, photographed for the neural renderer to learn from. Offline; extra `train`."""
