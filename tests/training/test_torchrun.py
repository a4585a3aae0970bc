"""A preset of two GPUs by the real torchrun: two processes over gloo, where PyTorch is told that it sees two GPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path

from kdx2i.files import read_json
from kdx2i.suite import make_plan
from tests.support.fake_gpus import TWO
from tests.support.repository import ROOT, clone


def test_two_processes_distil_one_student(tmp_path: Path):
    root = clone(tmp_path / "repository")
    path = root / "benchmarks" / "presets" / "open-smoke.yaml"
    path.write_text(path.read_text() + "resources: {gpus: 2}\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(TWO)
    words = ["--preset", "open-smoke", "--architecture", "stargan_v2", "--transfer", "kd", "--resolution", "32"]
    done = subprocess.run(
        [sys.executable, "-m", "kdx2i", "distill", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)]),
            "KDX2I_ROOT": str(root),
            "KDX2I_WARM": "off",
            "SEEN": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "CUDA_VISIBLE_DEVICES": "0,1",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("rank*")} == {"rank0", "rank1"}
    student = make_plan(root, "open-smoke").distilled("stargan_v2", "kd", 32, 0)
    steps = [json.loads(line)["step"] for line in student.file("log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "one process writes the log"
    assert read_json(student.provenance_path)["identity"] == student.identity
