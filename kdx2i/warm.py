"""A warm start for a workflow's jobs: one process imports the libraries once and forks into every job.

`import torch` alone is two to three seconds of a job, and PyTorch's compiler, which its optimisers import, as many
again: longer than many jobs of a small preset need for their work. The Snakefile starts the server of this module
beside itself; `python -m kdx2i` hands its command over to it, waits, and ends with the command's exit status. Without
a server a command runs in its own process, and computes the same: none of the suite's own modules is imported before
the fork, and the job has the caller's environment, folder and streams. It ends when its caller does.

The server's socket has a name of Linux's abstract kind: no file, so that nothing is left behind however the server
ends, and no folder whose path could be too long. Since such a name has no owner, both ends ask the system whose process
the other is.
"""

import gc
import importlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

HANDED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""The signals that a command hands on to its job in the server: a training stops by them, with a checkpoint."""
ADDRESS = "KDX2I_WARM"
"""Environment variable with the name of the server's socket; with `off` the Snakefile starts no server."""

LIBRARIES = (
    "numpy",
    "PIL.Image",
    "pydantic.main",
    "rich.progress",
    "safetensors.torch",
    "scipy.linalg",
    "torch",
    "torchvision.utils",  # PyTorch's compiler with it, which every optimiser imports too.
    "typer",
    "yaml",
)
"""What the first jobs need; they wait for it."""
LATER = ("scipy.stats", "matplotlib.figure")
"""What only tables and figures need: imported when no job waits."""
STARTED = b"+"


def start(threads: int) -> None:
    """Start the server for the jobs of this process, and name it in the environment that they inherit.

    It ends with this process, however that ends. Nothing is started for jobs of several threads, since a fork has
    one, where processes cannot be forked safely, or where the environment names a server already.
    """
    if threads != 1 or sys.platform != "linux" or ADDRESS in os.environ:
        return
    address = f"kdx2i-{os.getpid()}-{secrets.token_hex(8)}"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")
        listener.listen(64)
        # The pipe to its standard input closes when this process ends: that is how the server knows.
        subprocess.Popen(
            [sys.executable, "-m", "kdx2i.warm", str(listener.fileno())],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env={**os.environ, **one_thread},
        )
    os.environ[ADDRESS] = address


def delegate(words: Sequence[str]) -> int | None:
    """Let the server run the command `kdx2i WORDS...`; return its exit status, or None where no server started it."""
    if os.environ.get(ADDRESS, "off") == "off":
        return None
    request = {"words": list(words), "folder": str(Path.cwd()), "environment": dict(os.environ)}
    message = json.dumps(request).encode()
    started, status = False, b""
    received: list[int] = []
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"\0{os.environ[ADDRESS]}")
            if not _is_ours(connection):
                return None
            socket.send_fds(connection, [len(message).to_bytes(8, "big")], [0, 1, 2])
            connection.sendall(message)
            started = connection.recv(1) == STARTED
            if started:
                with _handing_on(connection, received):
                    status = connection.recv(16)
        except OSError:
            pass  # There is no server, or it or the job was killed; which of them, `started` tells.
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    if not started:
        return None
    if not status and received:  # The job did not heed it: this process ends as that one did.
        signal.signal(received[-1], signal.SIG_DFL)
        os.kill(os.getpid(), received[-1])
    if not status:
        print("error: the job was killed before it ended (for want of memory?)", file=sys.stderr)
        return 1
    return int(status)


@contextmanager
def _handing_on(connection: socket.socket, received: list[int]) -> Iterator[None]:
    """Hand signals on to the job while this process waits for it, and note them."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        with suppress(OSError):  # The job has ended.
            connection.send(bytes([number]))

    before = {number: signal.signal(number, hand_on) for number in HANDED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(listener: socket.socket) -> None:
    """Run every command that arrives in a fork of this process, until standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # An interruption is the jobs' and their caller's affair.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for a job here: the system clears it away.
    for name in LIBRARIES:
        importlib.import_module(name)
    later = list(LATER)
    while True:
        gc.freeze()  # Else a job's garbage collection goes through the libraries, and copies their memory by that.
        ready = select.select([listener, sys.stdin], [], [], 0 if later else None)[0]
        if sys.stdin in ready:
            return
        if not ready:
            importlib.import_module(later.pop(0))
            continue
        connection = listener.accept()[0]
        if _is_ours(connection) and os.fork() == 0:
            listener.close()
            _be_the_job(connection)
        connection.close()


def _is_ours(connection: socket.socket) -> bool:
    """Return whether the process at the other end runs for the same user: anyone may connect to an abstract name."""
    process_user_group = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", process_user_group)
    return bool(user == os.geteuid())


def _be_the_job(connection: socket.socket) -> None:
    """Take over the caller's command, folder, environment and streams; run the command and end this process."""
    status = 1
    try:
        header, streams, _, _ = socket.recv_fds(connection, 8, 3)
        with connection.makefile("rb") as incoming:
            request = json.loads(incoming.read(int.from_bytes(header, "big")))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # The server's own streams may be of another kind than the caller's. By lines: a log shows what is done.
        sys.stdout = open(1, "w", 1, sys.stdout.encoding, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, sys.stderr.encoding, "backslashreplace", closefd=False)  # noqa: SIM115
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.sendall(STARTED)
        threading.Thread(target=_hear_the_caller, args=(connection,), daemon=True).start()
        from kdx2i.cli import main

        status = main(request["words"])
    except KeyboardInterrupt:  # Before the command could take care of it: the caller hands interruptions on.
        print("interrupted", file=sys.stderr)
        status = 130
    finally:  # Whatever happens, this process must not go on as a second server.
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(str(status).encode())
        os._exit(status)


def _hear_the_caller(connection: socket.socket) -> None:
    """Send this process the signals that the caller hands on, and end it when the caller was killed."""
    while number := connection.recv(1):
        os.kill(os.getpid(), number[0])
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        serve(inherited)
