from pathlib import Path


def shout(text: str) -> str:
    return text.upper()


scattergather:
    parts=3,
