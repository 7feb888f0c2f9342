"""What all checks of exercises share."""


class ExerciseError(AssertionError):
    """The answer is not right yet; the sentence says what to look at."""


def require(condition: bool, sentence: str) -> None:
    """Raise `ExerciseError` with a sentence unless the condition holds."""
    if not condition:
        raise ExerciseError(sentence)
