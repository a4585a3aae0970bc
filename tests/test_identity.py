import ast
import io
import os
import tokenize
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdx2i import identity as identity_module
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.identity import (
    ABSENT,
    UNREAD,
    code_closure,
    code_hash,
    file_hash,
    identity,
    large_files_unread,
    normalised_source,
)

SOURCE = '''"""About."""
import math  # why


class A:
    """Of A.

    More.
    """

    x = """kept # text

    with a blank line"""  # not this

    def f(self) -> str:
        """Of f."""
        # a comment
        return "# no comment"
'''

SAME = '''import math
class A:
    x = """kept # text

    with a blank line"""
    def f(self) -> str:

        return "# no comment"   # another
'''


def package(folder: Path, **modules: str) -> Path:
    """Make a package `kdx2i` with modules given by dotted name (with `__` for the dot)."""
    root = folder / "kdx2i"
    root.mkdir(exist_ok=True)
    (root / "__init__.py").touch()
    for name, text in modules.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return root


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    assert normalised_source(SOURCE) == normalised_source(SAME)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("math", "cmath"),
        ("kept # text", "kept # other"),
        ("\n\n    with", "\n    with"),
        ('"# no comment"', '"# a comment"'),
    ],
)
def test_anything_else_counts(before: str, after: str) -> None:
    assert before in SOURCE
    assert normalised_source(SOURCE.replace(before, after, 1)) != normalised_source(SOURCE)


@given(st.lists(st.sampled_from(SOURCE.splitlines()[12:]), min_size=1, max_size=3), st.integers(0, 3))
def test_added_comment_lines_do_not_count(comments: list[str], blanks: int) -> None:
    lines = ["# " + comment.replace("\n", " ") for comment in comments] + [""] * blanks
    assert normalised_source("\n".join([*lines, "x = 1"]) + "\n") == "x = 1\n"


def test_the_normal_form_of_the_package_is_valid_python_where_no_docstring_is_a_whole_body() -> None:
    source = (Path(__file__).parents[1] / "kdx2i" / "files.py").read_text()
    normal = normalised_source(source)
    ast.parse(normal)
    assert '"""' not in normal
    assert normalised_source(normal) == normal


def test_a_module_depends_on_all_that_it_reaches(tmp_path: Path) -> None:
    root = package(
        tmp_path,
        a="from kdx2i.rooms import b\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import kdx2i.types\n",
        rooms__b="def f():\n    from . import c\n    import os, kdx2i.d\n",
        rooms__c="x = 1\n",
        d="from kdx2i.rooms.c import x\nimport kdx2i.plan\n",
        types="x = 1\n",
        other="x = 1\n",
        plan="import kdx2i.other\n",
    )
    closure = code_closure(["kdx2i.a"], root)
    assert closure == ["kdx2i.a", "kdx2i.d", "kdx2i.rooms", "kdx2i.rooms.b", "kdx2i.rooms.c"]


def test_the_hash_follows_the_code_that_is_reached_and_no_other(tmp_path: Path) -> None:
    def hash_of(name: str, **modules: str) -> str:
        return code_hash(["kdx2i.a"], package(tmp_path / name, **modules))

    for name in ("one", "comment", "unrelated", "reached", "new"):
        (tmp_path / name).mkdir()
    base = {"a": "import kdx2i.b\n", "b": "x = 1\n", "c": "x = 1\n"}
    first = hash_of("one", **base)
    assert hash_of("comment", **{**base, "b": "# why\nx = 1  # one\n"}) == first
    assert hash_of("unrelated", **{**base, "c": "x = 2\n"}) == first
    assert hash_of("reached", **{**base, "b": "x = 2\n"}) != first
    assert hash_of("new", **{**base, "b": "x = 1\nimport kdx2i.c\n"}) != first


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"kdx2i\.nothing does not exist"):
        code_hash(["kdx2i.nothing"], package(tmp_path))


def test_code_that_does_not_parse_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.py is not valid Python: line 1"):
        code_hash(["kdx2i.a"], package(tmp_path, a="def (\n"))


def test_training_does_not_depend_on_the_evaluation_or_on_tables() -> None:
    train = set(code_closure(["kdx2i.stages.train", "kdx2i.methods.stargan_v2.method"]))
    evaluate = set(code_closure(["kdx2i.stages.evaluate", "kdx2i.methods.stargan_v2.method"]))
    assert not any(name.startswith(("kdx2i.metrics", "kdx2i.tables", "kdx2i.cli", "kdx2i.plan")) for name in train)
    assert "kdx2i.training.loop" in train
    assert any(name.startswith("kdx2i.metrics") for name in evaluate)


def test_a_file_is_hashed_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert file_hash(path) == ABSENT
    path.write_text("a")
    first = file_hash(path)
    path.write_text("bb")
    assert file_hash(path) not in (first, ABSENT)


texts = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)


def test_large_files_are_read_once_for_all_processes_and_again_when_they_change(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(identity_module, "LARGE", 4)
    reads: list[Path] = []
    monkeypatch.setattr(identity_module, "sha256_file", lambda path: (reads.append(path), sha256_file(path))[1])

    def in_a_new_process() -> str:
        identity_module._file_hash.cache_clear()
        return file_hash(path)

    path = tmp_path / "archive.zip"
    path.write_bytes(b"first")
    first = in_a_new_process()
    assert first == sha256_file(path) == in_a_new_process()
    assert len(reads) == 1
    dated = path.stat()
    path.write_bytes(b"other")  # as long, and dated back
    os.utime(path, ns=(dated.st_atime_ns, dated.st_mtime_ns))
    assert in_a_new_process() == sha256_file(path) != first
    (record,) = (tmp_path / "cache/kdx2i/hashes").iterdir()
    for damage in (b"", b"[]", b'[[1], "abc"]', b"{", b"\xff"):
        record.write_bytes(damage)
        assert in_a_new_process() == sha256_file(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # no folder can be there
    assert in_a_new_process() == sha256_file(path)


def test_a_large_file_is_left_unread_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(identity_module, "LARGE", 4)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"abc")
    large.write_bytes(b"abcd")
    with large_files_unread():
        assert (file_hash(small), file_hash(large)) == (sha256_file(small), UNREAD)
    # What has been looked at is read when it counts, and known from then on.
    assert file_hash(large) == sha256_file(large)
    with large_files_unread():
        assert file_hash(large) == sha256_file(large)
        large.write_bytes(b"abcde")
        assert file_hash(large) == UNREAD


@given(texts, texts, texts, st.sampled_from(["spec", "inputs", "files", "kind", "code"]))
def test_every_part_counts_and_order_does_not(
    spec: dict[str, str], inputs: dict[str, str], files: dict[str, str], part: str
) -> None:
    parts: dict[str, object] = {"kind": "run", "spec": spec, "code": "c", "inputs": inputs, "files": files}
    original = identity(**parts)  # type: ignore[arg-type]
    turned = {k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in parts.items()}
    assert identity(**turned) == original  # type: ignore[arg-type]
    old = parts[part]
    parts[part] = {**old, "new key": "1"} if isinstance(old, dict) else f"{old}!"
    assert identity(**parts) != original  # type: ignore[arg-type]


def test_comments_are_those_that_the_tokenizer_sees() -> None:
    """In the suite's own sources, whose strings hold every kind of quote and escape."""
    for path in sorted((Path(__file__).parents[1] / "kdx2i").rglob("*.py")):
        source = path.read_text()
        lines = source.split("\n")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
        bare = normalised_source("\n".join(lines))
        assert normalised_source(source) == bare, path
