"""Scripts for the Python of ``.venv-peers/``: they import PyTorch, and nothing of the course."""
