"""The one error that the course raises on bad input."""


class CourseError(ValueError):
    """Bad input, told in one sentence: what was wrong and what is accepted."""
