"""The warm server runs a job as a process of its own would: same words, folder, environment, streams and status."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from repository import ROOT
from warm_server import Owner, eventually, light, plain_environment

from kdx2i import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux do jobs start warm")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    owner = Owner(**light(tmp_path_factory.mktemp("light")))
    yield owner.address
    owner.end()


def kdx2i(*words: str, address: str | None, folder: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
    served = {} if address is None else {warm.ADDRESS: address}
    return subprocess.Popen(
        [sys.executable, "-m", "kdx2i", *words],
        cwd=folder,
        env=plain_environment() | {"PYTHONPATH": str(ROOT)} | served | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("check", "--preset", "open-smoke"), 0),
        (("check", "--preset", "nothing"), 2),
        (("train", "--colour", "green"), 2),
        (("verify", "table6", "--preset", "paper-smoke"), 1),
    ],
)
def test_status_and_streams_are_those_of_a_process_of_its_own(address, words, status):
    served = answer(kdx2i(*words, address=address))
    assert served == answer(kdx2i(*words, address=None))
    assert served[0] == status
    assert served[1] or served[2]


def test_job_has_the_callers_folder_and_environment(address, tmp_path):
    status, _, err = answer(kdx2i("check", address=address, folder=tmp_path, KDX2I_ROOT=str(tmp_path / "elsewhere")))
    assert (status, err) == answer(
        kdx2i("check", address=None, folder=tmp_path, KDX2I_ROOT=str(tmp_path / "elsewhere"))
    )[::2]
    assert "elsewhere" in err


def server_of(owner: Owner) -> psutil.Process:
    (server,) = psutil.Process(owner.process.pid).children()
    return server


@pytest.fixture
def owner(tmp_path):
    owner = Owner(**light(tmp_path))
    yield owner
    owner.end()


def a_long_job(owner: Owner) -> tuple[subprocess.Popen[str], psutil.Process]:
    """Return a command that takes seconds, begun, and the process in which the server runs it."""
    caller = kdx2i("check", address=owner.address)
    assert eventually(lambda: bool(server_of(owner).children()))
    return caller, server_of(owner).children()[0]


def test_job_ends_with_its_killed_caller(owner):
    caller, job = a_long_job(owner)
    caller.kill()
    caller.communicate()
    assert eventually(lambda: not job.is_running())


def test_interrupted_caller_says_so_and_its_job_ends(owner):
    caller, job = a_long_job(owner)
    caller.send_signal(signal.SIGINT)
    status, _, err = answer(caller)
    assert (status, err) == (130, "interrupted\n")
    assert eventually(lambda: not job.is_running())


def test_killed_job_is_said_by_its_caller(owner):
    caller, job = a_long_job(owner)
    assert caller.stdout is not None
    caller.stdout.readline()
    job.kill()
    status, _, err = answer(caller)
    assert status == 1
    assert err == "error: the job was killed before it ended (for want of memory?)\n"


def test_server_ends_with_its_killed_owner_and_commands_run_without_it(owner):
    assert answer(kdx2i("check", "--preset", "open-smoke", address=owner.address))[0] == 0
    server = server_of(owner)
    owner.process.kill()
    assert eventually(lambda: not server.is_running())
    assert answer(kdx2i("check", "--preset", "open-smoke", address=owner.address))[0] == 0


def test_killed_server_and_owner_leave_no_file(tmp_path):
    owner = Owner(TMPDIR=str(tmp_path))
    a_long_job(owner)[0].communicate()
    server = server_of(owner)
    server.kill()
    owner.end()
    assert eventually(lambda: not server.is_running())
    # PyTorch's compiler makes one folder of a fixed name for its cache.
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor_")] == []


def test_jobs_start_warm_whatever_the_length_of_the_temporary_folder(tmp_path):
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    owner = Owner(TMPDIR=str(deep), **light(tmp_path))
    try:
        a_long_job(owner)[0].communicate()
    finally:
        owner.end()


def test_a_server_of_another_user_gets_no_command(address, monkeypatch):
    monkeypatch.setenv(warm.ADDRESS, address)
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    monkeypatch.setattr(socket, "send_fds", lambda *_: pytest.fail("the command was sent"))
    assert warm.delegate(["check"]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_command_of_another_user_is_not_run(address):
    """It gets no sign of a started job."""
    code = f"""
import socket
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("\\0{address}")
    print(connection.recv(1))
"""
    done = subprocess.run(["/usr/bin/env", "python3", "-c", code], user=65534, cwd="/", capture_output=True, text=True)
    assert done.stdout == "b''\n", done.stderr


def test_command_runs_without_a_server_that_cannot_import(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('broken')\n")
    owner = Owner(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    try:
        assert eventually(lambda: server_of(owner).status() == psutil.STATUS_ZOMBIE)
        assert answer(kdx2i("check", "--preset", "open-smoke", address=owner.address))[0] == 0
    finally:
        owner.end()


@pytest.mark.parametrize(("threads", "named"), [(2, None), (1, "off"), (1, "/there/already")])
def test_no_server_is_started_where_none_is_wanted(monkeypatch, threads, named):
    monkeypatch.delenv(warm.ADDRESS, raising=False)
    if named is not None:
        monkeypatch.setenv(warm.ADDRESS, named)
    monkeypatch.setattr(warm.subprocess, "Popen", lambda *_, **__: pytest.fail("a server was started"))
    warm.start(threads)
    assert os.environ.get(warm.ADDRESS) == named


def test_what_the_server_imports_can_be_forked():
    """No module of the suite, else a job would run code of before the fork; no thread, no CUDA: a fork breaks them."""
    code = """
import importlib, os, sys
import psutil
from kdx2i.warm import LATER, LIBRARIES
for name in LIBRARIES + LATER:
    importlib.import_module(name)
import torch
this = psutil.Process()
print(sorted(n for n in sys.modules if n.startswith("kdx2i")), this.num_threads(), this.children(), flush=True)
if os.fork() == 0:
    print(torch.cuda._is_in_bad_fork(), flush=True)
    os._exit(0)
os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['kdx2i', 'kdx2i.warm'] 1 []", "False"]


def test_jobs_import_no_large_library_themselves():
    """The server has them already: PyTorch's compiler, SciPy's statistics and Matplotlib take seconds."""
    code = """
import importlib, sys
from kdx2i.warm import LATER, LIBRARIES
for name in LIBRARIES + LATER:
    importlib.import_module(name)
before = set(sys.modules)
import torch
from kdx2i.training.checkpoint import optimizer_tensors
from kdx2i.training.optimizers import adam, step_optimizers
import kdx2i.stages.train, kdx2i.stages.evaluate, kdx2i.stages.table
weight = torch.nn.Parameter(torch.ones(3))
optimizer = adam([weight], 0.1, (0.0, 0.99))
step_optimizers(weight.square().sum(), optimizer)
assert optimizer_tensors(optimizer)["0.step"] == 1
heavy = ("torch", "torchvision", "scipy", "matplotlib")
print(sum(name.partition(".")[0] in heavy for name in set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10
