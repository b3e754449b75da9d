import pytest

from snakeway.catalog.gitsource import git_source, without_credentials
from snakeway.errors import Invalid

DEFAULT = ["https://", "http://", "ssh://", "file://"]


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c touch% /tmp/x",
        "https://host/a b",
        "https://host/a\nb",
        "https://host\\@elsewhere/x",
        "/srv/git/x",
        "../x",
        "git@host:x.git",
        "HTTPS://host/x",
        "ssh://-oProxyCommand=x/y",
        "ssh://user@-oProxyCommand=x/y",
        "https://host/a/../../b",
        "https://host/a/%2e%2e/b",
        "file:///srv/git/%2E./etc",
        "https://host/" + "x" * 3000,
        "https://user:pass%0aword@host/x",
        "",
    ],
)
def test_a_url_that_is_no_plain_allowed_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        git_source(url, "HEAD", "", DEFAULT)
    assert caught.value.field == "workflow.url"
    assert len(caught.value.detail) < 500


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://git.example.org/lab/x", True),
        ("https://git.example.org", True),
        ("https://git.example.org.elsewhere.net/x", False),
        ("https://git.example.org@elsewhere.net/x", False),
        ("https://git.example.org:pw@elsewhere.net/x", False),
        ("https://user@git.example.org/x", False),
        ("http://git.example.org/x", False),
        ("file:///srv/git/lab/x", True),
        ("file:///srv/git/lab-b/x", True),
        ("file:///srv/git/la", False),
        ("file:///srv/git/lab/../secret", False),
    ],
)
def test_prefixes_name_hosts_and_folders(url: str, allowed: bool) -> None:
    prefixes = ["https://git.example.org", "file:///srv/git/lab"]
    if allowed:
        assert git_source(url, "HEAD", "", prefixes).restricted
    else:
        with pytest.raises(Invalid) as caught:
            git_source(url, "HEAD", "", prefixes)
        assert caught.value.field == "workflow.url"


def test_without_prefixes_nothing_is_fetched() -> None:
    with pytest.raises(Invalid, match="takes no repositories"):
        git_source("https://host/x", "HEAD", "", [])
    assert not git_source("https://host/x", "HEAD", "", DEFAULT).restricted


@pytest.mark.parametrize("ref", ["HEAD", "main", "v1.0", "feature/x-1", "refs/heads/main", "a" * 40, "größe", "a@b"])
def test_refs_that_git_has_are_taken(ref: str) -> None:
    assert git_source("https://host/x", ref, "", DEFAULT).ref == ref


@pytest.mark.parametrize(
    "ref",
    [
        *["", "--upload-pack=x", "-x", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/", "a//b"],
        *["@", "@{-1}", "a.lock", "a.lock/b", ".a", "a/.b", "a.", "a\nb", "a\0b", "x" * 300],
    ],
)
def test_what_cannot_be_a_ref_is_refused(ref: str) -> None:
    with pytest.raises(Invalid) as caught:
        git_source("https://host/x", ref, "", DEFAULT)
    assert caught.value.field == "workflow.ref"


@pytest.mark.parametrize(
    "path", ["..", "a/../b", "/etc", "a//b", ".", "./a", ".git", "a/.GIT/b", "a\0b", "a\\b", "a\nb"]
)
def test_a_path_stays_inside_the_repository(path: str) -> None:
    with pytest.raises(Invalid) as caught:
        git_source("https://host/x", "HEAD", path, DEFAULT)
    assert caught.value.field == "workflow.path"


@pytest.mark.parametrize(
    ("url", "path", "name"),
    [
        ("https://host/lab/rna-seq.git", "", "rna-seq"),
        ("https://host/lab/rna-seq/", "", "rna-seq"),
        ("https://host/lab/x", "workflows/variant calling/", "variant-calling"),
        ("https://host/lab/%20...", "", "workflow"),
        ("https://host", "", "host"),
    ],
)
def test_the_workflow_is_named_after_the_last_part(url: str, path: str, name: str) -> None:
    assert git_source(url, "HEAD", path, DEFAULT).name == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host/x", "https://host/x"),
        ("https://secret@host/x", "https://host/x"),
        ("https://us@er:sec@ret@host/x@v1", "https://host/x@v1"),
        ("https://host/x@v1", "https://host/x@v1"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:secret@host/x", "ssh://git@host/x"),
        ("ssh://git:sec@ret@host/x", "ssh://git@host/x"),
        ("ssh://host:22/x", "ssh://host:22/x"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    source = git_source(url, "HEAD", "", DEFAULT)
    assert source.shown == shown
    assert "secret" not in repr(source.record("c"))
    assert "secret" not in without_credentials(f"fatal: Authentication failed for '{url}'")


def test_an_address_that_is_refused_is_shown_without_credentials() -> None:
    with pytest.raises(Invalid) as caught:
        git_source("ftp://user:secret@host/x", "HEAD", "", DEFAULT)
    assert "secret" not in caught.value.detail
    with pytest.raises(Invalid) as caught:
        git_source("https://user:secret@host/x y", "HEAD", "", DEFAULT)
    assert "secret" not in caught.value.detail


def test_a_full_commit_id_is_known_as_such() -> None:
    assert git_source("https://host/x", "A" * 40, "", DEFAULT).commit == "a" * 40
    assert git_source("https://host/x", "a" * 64, "", DEFAULT).commit == "a" * 64
    assert git_source("https://host/x", "a" * 39, "", DEFAULT).commit is None


def test_the_credentials_of_http_are_taken_from_the_url() -> None:
    assert git_source("https://us%40er:p%2Fw@host/x", "HEAD", "", DEFAULT).credentials == ("us@er", "p/w")
    assert git_source("https://token@host/x", "HEAD", "", DEFAULT).credentials == ("token", None)
    assert git_source("https://host/x@v1", "HEAD", "", DEFAULT).credentials is None
    assert git_source("ssh://git@host/x", "HEAD", "", DEFAULT).credentials is None
