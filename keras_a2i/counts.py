"""Counts in words."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun, whose plural ends in s.

    Example:
        >>> counted(1, "pair"), counted(1000, "pair")
        ('1 pair', '1,000 pairs')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"
