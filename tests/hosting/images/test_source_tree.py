from __future__ import annotations

import pytest

from mme_hosting.errors import HostingError
from mme_hosting.images import source_tree
from support.trees import git, make_tree


def test_a_clean_tree_is_known_from_anywhere_in_it(tmp_path) -> None:
    revision = make_tree(tmp_path)
    found = source_tree.find(tmp_path / "container")
    assert found == source_tree.SourceTree(tmp_path, revision, ())


def test_what_no_commit_holds(tmp_path) -> None:
    make_tree(tmp_path)
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "ignored").write_text("x")
    (tmp_path / "a new file").write_text("x")
    git(tmp_path, "mv", "container/Dockerfile", "container/Other")
    git(tmp_path, "commit", "--quiet", "--all", "--message", "moved")
    git(tmp_path, "mv", "container/Other", "container/Dockerfile")
    found = source_tree.find(tmp_path)
    assert found is not None
    assert sorted(found.changes) == [
        ".gitignore",
        "a new file",
        "container/Dockerfile",
        "container/Other",
    ]


def test_the_worktree_of_a_hook_is_not_taken_for_this_one(tmp_path, monkeypatch) -> None:
    revision = make_tree(tmp_path / "this")
    make_tree(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere"))
    found = source_tree.find(tmp_path / "this")
    assert found is not None
    assert (found.revision, found.changes) == (revision, ())


def test_no_tree_or_somebody_elses(tmp_path) -> None:
    assert source_tree.find(tmp_path) is None
    make_tree(tmp_path)
    git(tmp_path, "rm", "--quiet", "container/Dockerfile")
    assert source_tree.find(tmp_path) is None


def test_a_tree_without_a_commit(tmp_path) -> None:
    (tmp_path / "container").mkdir()
    (tmp_path / "container/Dockerfile").touch()
    git(tmp_path, "init", "--quiet")
    with pytest.raises(HostingError, match="git cannot say what has changed in "):
        source_tree.find(tmp_path)


def test_without_git(tmp_path, monkeypatch) -> None:
    make_tree(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostingError, match="git is not installed"):
        source_tree.find(tmp_path)
