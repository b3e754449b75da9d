"""Lies beside the script that imports it."""


def scaled(value: int, factors: dict[str, int]) -> dict[str, int]:
    """Return the value times each factor."""
    return {name: value * factor for name, factor in factors.items()}
