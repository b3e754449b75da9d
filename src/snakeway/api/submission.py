"""Bodies of requests about runs: what to run, and what to do differently the next time."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from snakeway.api.shared import EXAMPLE_DIGEST
from snakeway.errors import Invalid
from snakeway.model.attempt import Overrides
from snakeway.service import Rerun, Submission

_MOST_NAMES = 1000
_LONGEST_NAME = 1024

Name = Annotated[str, Meta(max_length=_LONGEST_NAME)]
Names = Annotated[list[Name], Meta(max_length=_MOST_NAMES)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Resources = Annotated[
    dict[str, dict[str, int | str]],
    Meta(
        max_length=_MOST_NAMES,
        description="By rule and resource: whole numbers, or quantities such as `4GB` and `2h`.",
        examples=[{"fit": {"mem_mb": 4000}}],
    ),
]


class GitSource(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A workflow in a git repository."""

    url: Annotated[str, Meta(min_length=1, max_length=2048, examples=["https://git.example.org/lab/penguins.git"])]
    ref: Annotated[str, Meta(min_length=1, max_length=255, description="Branch, tag or commit.")] = "HEAD"
    path: Annotated[
        str, Meta(max_length=_LONGEST_NAME, description="Folder of the workflow within the repository.")
    ] = ""


class Bundle(Struct, frozen=True, forbid_unknown_fields=True):
    """A workflow that was sent before, with `POST /bundles`."""

    digest: Annotated[str, Meta(max_length=_LONGEST_NAME, examples=[EXAMPLE_DIGEST])]
    name: Annotated[Name, Meta(description="What it is called.", examples=["penguins"])]


class Elsewhere(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Says where the workflow comes from, if not from the catalog: one of these."""

    git: GitSource | None = None
    bundle: Bundle | None = None


class _Changes(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What an attempt does differently from the workflow and its profile: snakemake's options of the same names."""

    set_resources: Resources = {}
    set_threads: Annotated[dict[str, Count], Meta(max_length=_MOST_NAMES, description="Threads by rule.")] = {}
    targets: Annotated[Names, Meta(description="Rules or files to make instead of everything.")] = []
    until: Annotated[Names, Meta(description="Rules or files to stop at.")] = []
    forcerun: Annotated[Names, Meta(description="Rules or files to make again.")] = []
    forceall: Annotated[bool, Meta(description="Whether to make everything again.")] = False
    image: Annotated[
        Name | None,
        Meta(
            description="Image that jobs run in, where the target runs them in containers; a tag alone is one of the "
            "target's image. A re-run keeps it.",
            examples=["1.4"],
        ),
    ] = None
    dry_run: Annotated[bool, Meta(description="Whether only to say what would run.")] = False

    def overrides(self) -> Overrides:
        """Return them as the model knows them."""
        return Overrides(
            self.set_resources,
            self.set_threads,
            self.targets,
            self.until,
            self.forcerun,
            self.forceall,
            self.image,
        )


class RunRequest(_Changes, frozen=True, kw_only=True):
    """What to run."""

    workflow: Annotated[
        Name | Elsewhere,
        Meta(description="Name of a workflow of the catalog, or where else one is from."),
    ]
    target: Annotated[Name, Meta(description="Where the jobs run.")] = "local"
    config: Annotated[
        dict[str, Any],
        Meta(
            description="Replaces values of the workflow's own configuration. The text `input:ID` stands for an input: "
            "the workflow sees the path of the file."
        ),
    ] = {}
    labels: Annotated[
        dict[str, str], Meta(description="For filters: at most 32, values of at most 255 characters.")
    ] = {}
    note: Annotated[str, Meta(description="For people: at most 10,000 characters.")] = ""
    webhooks: Annotated[
        Names, Meta(description="Addresses that are told of this run: at most 4, as far as the server allows them.")
    ] = []

    def submission(self) -> Submission:
        """Return what the service takes. Raises Invalid."""
        elsewhere = self.workflow if isinstance(self.workflow, Elsewhere) else None
        if elsewhere is not None and (elsewhere.git is None) == (elsewhere.bundle is None):
            raise Invalid("name either a git repository or a bundle, or a workflow of the catalog", field="workflow")
        git, bundle = (elsewhere.git, elsewhere.bundle) if elsewhere else (None, None)
        return Submission(
            workflow=self.workflow if isinstance(self.workflow, str) else bundle.name if bundle else "",
            git_url=git.url if git else None,
            git_ref=git.ref if git else "HEAD",
            git_path=git.path if git else "",
            bundle=bundle.digest if bundle else None,
            target=self.target,
            config=self.config,
            overrides=self.overrides(),
            labels=self.labels,
            note=self.note,
            dry_run=self.dry_run,
            webhooks=self.webhooks,
        )

    @classmethod
    def example(cls) -> "RunRequest":
        """Return an example for the document."""
        labels = {"project": "penguins"}
        return cls(workflow="quickstart", config={"species": ["Adelie", "Gentoo"]}, labels=labels, note="first try")


class RerunRequest(_Changes, frozen=True, kw_only=True):
    """What the next attempt is to do differently; what is left out stays as it is."""

    config: Annotated[dict[str, Any] | None, Meta(description="Replaces the run's whole configuration.")] = None
    target: Annotated[Name | None, Meta(description="Another place to run the jobs.")] = None
    apply_suggestions: Annotated[
        bool,
        Meta(description="Whether to give the failed jobs what their failures say they lacked; other members win."),
    ] = False
    update_workflow: Annotated[bool, Meta(description="Whether to take the workflow's version of now.")] = False

    def rerun(self) -> Rerun:
        """Return what the service takes."""
        return Rerun(
            overrides=self.overrides(),
            config=self.config,
            target=self.target,
            apply_suggestions=self.apply_suggestions,
            update_workflow=self.update_workflow,
            dry_run=self.dry_run,
        )

    @classmethod
    def example(cls) -> "RerunRequest":
        """Return an example for the document."""
        return cls(set_resources={"fit": {"mem_mb": 4000}})
