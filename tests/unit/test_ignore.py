import pytest

from snakeway.ignore import IgnoreFile


@pytest.mark.parametrize(
    ("lines", "path", "folder", "verdict"),
    [
        ("results/", "results", True, True),
        ("results/", "a/results", True, True),
        ("results/", "results", False, None),
        ("/results", "a/results", False, None),
        ("a/b", "a/b", False, True),
        ("a/b", "x/a/b", False, None),
        ("*.log", "a/b.log", False, True),
        ("*.log\n!keep.log", "a/keep.log", False, False),
        ("!keep.log\n*.log", "a/keep.log", False, True),
        ("a/**/b", "a/b", False, True),
        ("a/**/b", "a/x/y/b", False, True),
        ("a/**", "a/x/y", False, True),
        ("a/**", "a", True, None),
        ("**/b", "b", False, True),
        ("a/*", "a/b/c", False, None),
        ("[!a]x", "bx", False, True),
        ("[!a]x", "ax", False, None),
        ("a[!b]c/d", "a/c/d", False, None),
        ("[[:digit:]]", "7", False, True),
        ("[]-]", "]", False, True),
        ("[a-", "a", False, None),
        ("\\#x\n\\!y", "#x", False, True),
        ("\\#x\n\\!y", "!y", False, True),
        ("# comment\n\n   ", "comment", False, None),
        ("x   ", "x", False, True),
        ("x\\ ", "x ", False, True),
        ("x\r", "x", False, True),
        ("\ufeffx", "x", False, True),
        ("\\", "\\", False, None),
        ("/", "a", True, None),
        ("ä?c", "äbc", False, True),
    ],
)
def test_a_line_decides_as_gitignore_says(lines: str, path: str, folder: bool, verdict: bool | None) -> None:
    assert IgnoreFile(lines.encode()).verdict(path.encode(), folder=folder) is verdict
