"""Whether others compute the same numbers: what ``course peers`` compares."""
