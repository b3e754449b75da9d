"""Which image jobs run in."""

import pytest

from snakeway.errors import Invalid
from snakeway.model.attempt import Overrides
from snakeway.model.image import image_for


@pytest.mark.parametrize(
    ("usual", "asked", "expected"),
    [
        ("lab/tools:1", None, "lab/tools:1"),
        ("lab/tools:1", "2.0", "lab/tools:2.0"),
        ("lab/tools", "2.0", "lab/tools:2.0"),
        ("host:5000/lab/tools", "2.0", "host:5000/lab/tools:2.0"),
        ("host:5000/lab/tools:1@sha256:ab", "2.0", "host:5000/lab/tools:2.0"),
        ("lab/tools:1", "other/tools", "other/tools"),
        ("lab/tools:1", "tools:3", "tools:3"),
        ("lab/tools:1", "tools@sha256:ab", "tools@sha256:ab"),
    ],
)
def test_a_tag_is_one_of_the_usual_image(usual: str, asked: str | None, expected: str) -> None:
    assert image_for(usual, asked) == expected


@pytest.mark.parametrize("asked", ["", "-1", "a b", "a;b", "$X", "x" * 501, "\N{SNAKE}", "a\n"])
def test_what_cannot_be_an_image_is_refused(asked: str) -> None:
    with pytest.raises(Invalid, match="neither the name of an image nor a tag"):
        Overrides(image=asked).check()
