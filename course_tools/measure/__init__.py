"""What is kept of measurements: bands, seconds, results."""
