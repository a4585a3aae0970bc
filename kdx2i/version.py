"""What `kdx2i --version` says."""

from pathlib import Path

from kdx2i import __version__
from kdx2i.provenance import git_commit


def version_text() -> str:
    """Return the version, and in a checkout its commit: `kdx2i 0.1.0 (commit 1f2e..., modified)`."""
    checkout = Path(__file__).parents[1]
    # An installed package may lie in an environment inside the repository of something else.
    commit = git_commit(checkout) if (checkout / ".git").exists() else None
    return f"kdx2i {__version__}" + (f" (commit {commit.replace('-', ', ')})" if commit else "")
