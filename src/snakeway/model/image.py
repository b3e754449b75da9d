"""The image that jobs run in, where they run in containers."""

import re

from snakeway.errors import Invalid

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}", re.ASCII)
OPTION = "container-image"  # of a profile, and of snakemake


def check_image(asked: str) -> str:
    """Return what was asked for if it can be an image or a tag; raises Invalid."""
    if _IMAGE.fullmatch(asked) is None:
        raise Invalid(f"{asked[:100]!r} is neither the name of an image nor a tag", field="image")
    return asked


def image_for(usual: str, asked: str | None) -> str:
    """Return the image to take: the target's usual one, that with another tag, or another one.

    What is asked for is a tag if it has none of the characters that only names of images have.
    """
    if asked is None:
        return usual
    if any(each in asked for each in "/:@"):
        return asked
    plain = usual.partition("@")[0]
    folder, slash, name = plain.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}:{asked}"
