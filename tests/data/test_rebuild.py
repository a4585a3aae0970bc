"""The pack can be rebuilt from published packages, and a difference is named."""

import csv
import hashlib
import io
import json
import lzma
import stat
import tarfile

import pytest

from kdx2i.data import rebuild
from kdx2i.data.manifest import COLUMNS
from kdx2i.data.pack import icon_line
from kdx2i.data.rebuild import download_packages, find_packages, read_packages, rebuild_pack
from kdx2i.data.svg import Icon
from kdx2i.errors import UserError

NAMES = ["baby", "baby-dark-skin-tone", "baby-medium-dark-skin-tone", "baby-angel", "cat"]


def body(set_name, name):
    return f'<path id="{set_name}-{name}" d="M0 0é"/>'


def package(set_name, **changes):
    icons = {name: {"body": body(set_name, name)} for name in [*reversed(NAMES), "unused"]}
    icons["cat"]["height"] = 4.5
    return {"prefix": set_name, "icons": icons, "width": 8, "height": 8} | changes


def npm_archive(path, content):
    data = json.dumps(content).encode()
    with tarfile.open(path, "w:gz") as archive:
        for name, member in (("package/package.json", b"{}"), ("package/icons.json", data)):
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return path


@pytest.fixture
def shipped(tmp_path):
    """A folder with a manifest and the packs of two permissive sets and one share-alike set."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for set_name in ("b", "a", "shared"):
            for name in sorted(NAMES):
                values = {"standin": "s", "split": "train", "set": set_name, "name": name, "captions": "[]"}
                writer.writerow(values | {"share_alike": int(set_name == "shared")})
    for file, sets in (("icons.jsonl.xz", "ab"), ("icons-sa.jsonl.xz", ["shared"])):
        lines = [
            icon_line(Icon(s, name, 8, 4.5 if name == "cat" else 8, body(s, name))) for s in sets for name in NAMES
        ]
        (folder / file).write_bytes(lzma.compress(b"\n".join(lines), preset=9 | lzma.PRESET_EXTREME))
    return folder


@pytest.fixture
def packages(tmp_path):
    """Two packages as npm archives and one as a folder."""
    unpacked = tmp_path / "shared"
    unpacked.mkdir()
    (unpacked / "icons.json").write_text(json.dumps(package("shared")), encoding="utf-8")
    archives = {name: npm_archive(tmp_path / f"{name}.tgz", package(name)) for name in "ab"}
    return archives | {"shared": unpacked}


def test_the_same_packages_give_the_same_pack(shipped, packages, tmp_path):
    reports = rebuild_pack(packages, shipped / "manifest.csv", tmp_path / "out")
    assert [(report.file, report.drawings) for report in reports] == [
        ("icons.jsonl.xz", 10),
        ("icons-sa.jsonl.xz", 5),
    ]
    assert all(report.identical and report.same_bytes for report in reports)
    for report in reports:
        assert (tmp_path / "out" / report.file).read_bytes() == (shipped / report.file).read_bytes()


def test_a_changed_drawing_is_named(shipped, packages, tmp_path):
    changed = package("b")
    changed["icons"]["cat"]["body"] += " "
    npm_archive(packages["b"], changed)
    first, second = rebuild_pack(packages, shipped / "manifest.csv", tmp_path / "out")
    assert first.differing == ("b:cat",) and not first.identical and not first.same_bytes
    assert second.identical


def test_a_shorter_or_reordered_pack_is_found(shipped, packages, tmp_path):
    path = shipped / "icons-sa.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).split(b"\n")
    for kept, differing in ((lines[:-1], 1), ([lines[1], lines[0], *lines[2:]], 2)):
        path.write_bytes(lzma.compress(b"\n".join(kept)))
        report = rebuild_pack(packages, shipped / "manifest.csv", tmp_path / "out")[1]
        assert len(report.differing) == differing


def test_other_compression_settings_are_told_apart_from_other_content(shipped, packages, tmp_path):
    path = shipped / "icons-sa.jsonl.xz"
    path.write_bytes(lzma.compress(lzma.decompress(path.read_bytes()), preset=0))
    report = rebuild_pack(packages, shipped / "manifest.csv", tmp_path / "out")[1]
    assert report.identical and not report.same_bytes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (package("z"), "holds the set 'z', not 'a'"),
        ({"prefix": "a"}, "is not a package of icons"),
        (package("a", icons={"baby": {"body": "x"}}), "has no drawing 'baby-dark-skin-tone'"),
        (package("a", icons={name: {"body": "x", "left": 2} for name in NAMES}), "is shifted or turned"),
    ],
)
def test_a_wrong_package_is_one_sentence(shipped, packages, tmp_path, content, message):
    npm_archive(packages["a"], content)
    with pytest.raises(UserError, match=message):
        rebuild_pack(packages, shipped / "manifest.csv", tmp_path / "out")
    assert not (tmp_path / "out" / "icons.jsonl.xz").exists()


def test_a_missing_package_and_the_shipped_folder_are_refused(shipped, packages, tmp_path):
    with pytest.raises(UserError, match="choose another folder"):
        rebuild_pack(packages, shipped / "manifest.csv", shipped)
    del packages["b"]
    with pytest.raises(UserError, match="the package of the set b is missing"):
        rebuild_pack(packages, shipped / "manifest.csv", tmp_path / "out")


@pytest.fixture
def catalogue(tmp_path):
    """A table of one package, and the archive's bytes."""
    data = npm_archive(tmp_path / "source.tgz", package("a")).read_bytes()
    path = tmp_path / "packages.csv"
    digest = hashlib.sha256(data).hexdigest()
    path.write_text(f"set,package,version,licence,sha256\na,@scope/a,1.2.3,MIT,{digest}\n", encoding="utf-8")
    return path


def fake_npm(tmp_path, monkeypatch, script):
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(rebuild.shutil, "which", lambda name: str(npm))


def test_packages_are_fetched_with_npm_once_and_verified(catalogue, tmp_path, monkeypatch):
    fake_npm(
        tmp_path,
        monkeypatch,
        f'test "$1 $2 $3 $5" = "pack --silent --pack-destination @scope/a@1.2.3" || exit 3\n'
        f'cp {tmp_path}/source.tgz "$4/scope-a-1.2.3.tgz"; echo x >> {tmp_path}/calls',
    )
    for _ in range(2):
        found = download_packages(catalogue, tmp_path / "cache")
    assert found == {"a": tmp_path / "cache" / "scope-a-1.2.3.tgz"}
    assert (tmp_path / "calls").read_text() == "x\n"
    found["a"].write_bytes(b"another package")
    with pytest.raises(UserError, match="is not the published package"):
        download_packages(catalogue, tmp_path / "cache")


def test_without_npm_or_network_the_sentence_says_what_to_do(catalogue, tmp_path, monkeypatch):
    fake_npm(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(UserError, match=r"npm could not fetch @scope/a@1\.2\.3: put scope-a-1\.2\.3\.tgz into"):
        download_packages(catalogue, tmp_path / "cache")
    monkeypatch.setattr(rebuild.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="npm is not installed"):
        download_packages(catalogue, tmp_path / "cache")
    with pytest.raises(UserError, match="holds neither"):
        find_packages(catalogue, tmp_path / "cache")


def test_an_unpacked_package_is_found(catalogue, tmp_path):
    (tmp_path / "cache" / "a").mkdir(parents=True)
    assert find_packages(catalogue, tmp_path / "cache") == {"a": tmp_path / "cache" / "a"}


def test_the_table_that_ships_names_every_set_of_the_manifest(root):
    folder = root / "benchmarks" / "datasets" / "open_emoji"
    packages = read_packages(folder / "packages.csv")
    attribution = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert len(packages) == 10
    for item in packages:
        assert item.package == f"@iconify-json/{item.set}" and f"{item.set} [{item.version}]" in attribution
    with pytest.raises(UserError, match=r"nowhere\.csv is not a readable table"):
        read_packages(folder / "nowhere.csv")
