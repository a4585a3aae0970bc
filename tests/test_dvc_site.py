"""DVC reads pickles from its site cache: that of this project lies in the clone, where no other user may write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT, run

ASK = "from dvc.repo import Repo\nwith Repo() as repo:\n    repo.status()\n    print(repo.site_cache_dir)"


@pytest.mark.workflow
def test_dvc_keeps_its_index_in_the_clone_and_lets_no_other_user_write_there(tmp_path: Path) -> None:
    copy = tmp_path / "clone"
    subprocess.run(["git", "init", "-q", str(copy)], check=True)
    index = {**os.environ, "GIT_DIR": str(copy / ".git"), "GIT_WORK_TREE": str(ROOT)}
    subprocess.run(["git", "add", "--", ".dvc", ".dvcignore", ".dvc-site"], cwd=ROOT, check=True, env=index)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # As a checkout makes it, with the usual permissions.
    subprocess.run(["/bin/sh", "-c", "umask 022 && git checkout-index -a"], cwd=copy, check=True, env=plain)
    done = run(copy, "/bin/sh", "-c", 'umask 022 && exec "$0" -c "$1"', sys.executable, ASK)
    assert done.returncode == 0, done.stderr
    place = copy / done.stdout.strip()
    assert place.is_relative_to(copy)
    assert any(place.rglob("*.db"))
    folders = [folder for folder in (place, *place.parents) if folder.is_relative_to(copy)]
    assert [str(folder) for folder in folders if folder.stat().st_mode & 0o022] == []
