"""How fast the course is, beside Keras' own ways and PyTorch: what ``course bench`` measures."""
