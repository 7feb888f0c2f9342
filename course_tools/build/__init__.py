"""From sources to stored notebooks."""
