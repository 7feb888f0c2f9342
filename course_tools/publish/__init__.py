"""What readers see outside a notebook: pages, the README."""
