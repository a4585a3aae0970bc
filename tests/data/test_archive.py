"""Archives are read member by member, and nothing hostile gets through."""

import gzip
import io
import tarfile
import zipfile

import pytest

from kdx2i.data.archive import Limits, read_members
from kdx2i.errors import UserError

FILES = {"cat/a.png": b"one", "cat/b.png": b"two", "dog/a.png": b"three", "empty.txt": b""}


def tar_with(path, *infos):
    with tarfile.open(path, "w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


def info(name, kind=tarfile.REGTYPE, link="", size=0):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "A.TAR", "a.zip", "folder"])
def test_every_container_gives_the_same_members(tmp_path, tar_of, zip_of, name):
    path = tmp_path / name
    if name == "folder":
        for member, data in FILES.items():
            (path / member).parent.mkdir(parents=True, exist_ok=True)
            (path / member).write_bytes(data)
    else:
        (zip_of if name.endswith("zip") else tar_of)(path, FILES)
    assert dict(read_members(path)) == FILES


@pytest.mark.parametrize(
    "name", ["../slip.png", "a/../../slip.png", "/etc/slip.png", "C:/slip.png", "a\\..\\slip.png", "."]
)
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_names_that_leave_the_archive_are_refused(tmp_path, tar_of, zip_of, name, suffix):
    path = (tar_of if suffix == ".tar" else zip_of)(tmp_path / f"evil{suffix}", {"ok.png": b"", name: b""})
    with pytest.raises(UserError, match="whose name leaves the archive"):
        list(read_members(path))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = tar_with(tmp_path / "evil.tar", info("cat/a.png", kind, "/etc/passwd"))
    with pytest.raises(UserError, match=r"evil\.tar holds the member 'cat/a\.png', which is a link"):
        list(read_members(path))


def test_links_in_a_zip_are_refused(tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("cat/a.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="which is a link"):
        list(read_members(path))


@pytest.mark.parametrize("directory", [True, False])
def test_links_in_a_folder_are_refused(tmp_path, directory):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"x")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside if directory else outside / "secret.png")
    with pytest.raises(UserError, match="'link', which is a link"):
        list(read_members(folder))


def test_an_encrypted_zip_is_refused(tmp_path, zip_of):
    path = zip_of(tmp_path / "a.zip", {"a.png": b"x"})
    data = bytearray(path.read_bytes())
    for marker, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(marker) + offset] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="encrypted"):
        list(read_members(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("./a.png", b"2")
    with pytest.raises(UserError, match=r"'a\.png' twice"):
        list(read_members(path))


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path, zip_of):
    path = zip_of(tmp_path / "bomb.zip", {"a.png": bytes(2**24)})
    with pytest.raises(UserError, match="200 times the archive's size"):
        list(read_members(path))


def test_a_tar_bomb_is_stopped_while_it_unpacks(tmp_path, tar_of):
    path = tar_of(tmp_path / "bomb.tar.gz", {"a.txt": bytes(2**24)})
    with pytest.raises(UserError, match="200 times the archive's size"):
        list(read_members(path))


def test_a_header_cannot_ask_for_more_than_a_member(tmp_path):
    path = tmp_path / "header.tar"
    header = info("a", tarfile.XHDTYPE, size=2**32).tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(header + b"1" * 2**22)
    with pytest.raises(UserError, match="unpacks to more"):
        list(read_members(path, Limits(member_bytes=2**20)))


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_members_and_totals_are_bounded(tmp_path, tar_of, zip_of, suffix):
    path = (tar_of if suffix == ".tar" else zip_of)(tmp_path / f"a{suffix}", FILES)
    for limits in (Limits(member_bytes=4), Limits(total_bytes=9), Limits(members=3)):
        with pytest.raises(UserError, match="refused"):
            list(read_members(path, limits))


def test_a_folder_is_bounded_too(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12345")
    with pytest.raises(UserError, match=r"'a\.png' of 5 bytes"):
        list(read_members(tmp_path, Limits(member_bytes=4)))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6])
def test_a_cut_archive_is_one_sentence(tmp_path, tar_of, zip_of, encoded, name, keep):
    members = {f"cat/{seed}.png": encoded(seed, size=(40, 40)) for seed in range(4)}
    path = (zip_of if name.endswith("zip") else tar_of)(tmp_path / name, members)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=name):
        list(read_members(path))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_tar_that_ends_between_two_members_is_cut_off(tmp_path, name):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for member in ("a", "b"):
            archive.addfile(info(member, size=512), io.BytesIO(b"x" * 512))
    data = whole.getvalue()[:1024]
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(UserError, match="its end mark is missing"):
        list(read_members(tmp_path / name))


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_a_file_that_is_no_archive_is_one_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not an archive" * 100)
    with pytest.raises(UserError, match="not a readable archive"):
        list(read_members(path))


def test_other_kinds_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.rar").write_bytes(gzip.compress(b"x"))
    with pytest.raises(UserError, match="neither a folder nor"):
        list(read_members(tmp_path / "a.rar"))
    with pytest.raises(UserError, match="does not exist"):
        list(read_members(tmp_path / "b.zip"))
