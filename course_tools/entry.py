"""Where ``course`` begins: Ctrl-C ends in one sentence also while the command line is still being imported."""

import sys

from course_tools.settings import INTERRUPTED


def main() -> None:
    """Import the command line and run it."""
    try:
        from course_tools.cli import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
