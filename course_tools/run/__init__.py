"""Notebooks executed, many at once, and what came of it."""
