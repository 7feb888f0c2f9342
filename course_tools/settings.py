"""What holds for the course as a whole, whoever runs it."""

# The public address of the repository; launch badges and the clone line appear once it is set.
REPOSITORY_URL = ""

LIMIT_MINUTES = 90.0  # that one notebook may run

INTERRUPTED = 130  # the code with which `course` ends after Ctrl-C, as Typer does
