"""What builds, runs, tests, measures and publishes the course; no notebook imports it."""
