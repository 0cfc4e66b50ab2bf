"""Kernels that are copies of a process: real ones, each with a namespace, a folder and signals of its own."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from delta_arb.report import kernels
from delta_arb.report.notebooks import execute, workplace

LIMIT_S = 120.0


@pytest.fixture
def run_cells(tmp_path):
    """Runs cells as a notebook in the next kernel and gives what the last one printed."""

    def run(ready, name, *cells):
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python"}, "language_info": {"name": "python"}}
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=metadata)
        (tmp_path / "from").mkdir(exist_ok=True)
        (tmp_path / "to").mkdir(exist_ok=True)
        nbformat.write(nb, tmp_path / "from" / f"{name}.ipynb")
        with workplace():
            execute(tmp_path / "from" / f"{name}.ipynb", tmp_path / "to", {}, LIMIT_S, ready)
        outputs = nbformat.read(tmp_path / "to" / f"{name}.ipynb", 4).cells[-1].outputs
        return "".join(output.text for output in outputs).strip()

    return run


def test_each_notebook_has_a_copy_of_its_own_and_knows_nothing_of_the_one_before(run_cells, tmp_path):
    with kernels.copies(2, tmp_path) as ready:
        pids = [copy.pid for copy in ready]
        first = run_cells(ready, "first", "import os, math\nmath.left = left = 7", "print(os.getpid(), os.getcwd())")
        look = "import os, math\nprint(os.getpid(), 'left' in globals(), hasattr(math, 'left'))"
        assert first == f"{pids[0]} {tmp_path / 'from'}"
        assert run_cells(ready, "second", look) == f"{pids[1]} False False"
        assert ready == [] and run_cells(ready, "third", look).endswith("False False")  # an ordinary kernel
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_copy_that_died_makes_room_for_the_next(run_cells, tmp_path):
    with kernels.copies(2, tmp_path) as ready:
        dead, alive = ready
        os.kill(dead.pid, signal.SIGKILL)
        dead.wait()
        assert dead.poll() == -signal.SIGKILL
        assert run_cells(ready, "nb", "import os\nprint(os.getpid())") == str(alive.pid) and ready == []


def test_where_copying_is_not_safe_kernels_are_started_in_the_ordinary_way(run_cells, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with kernels.copies(2, tmp_path) as ready:
        assert ready == []
        assert run_cells(ready, "nb", "print(1 + 1)") == "2"


WAITING = """
import os, sys, time
from pathlib import Path
from delta_arb.report import kernels
with open(sys.argv[1], "w") as held, kernels.copies(2, Path()) as ready:
    print(*[copy.pid for copy in ready], flush=True)
    sys.stdin.read()
"""


def test_copies_that_wait_hold_no_file_and_end_with_the_process_that_made_them(tmp_path):
    command = [sys.executable, "-c", WAITING, str(tmp_path / "held")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        waiting = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        process.send_signal(signal.SIGSTOP)  # the copies are not
        until = time.monotonic() + 20
        while any(copy.open_files() for copy in waiting) and time.monotonic() < until:
            time.sleep(0.01)  # they have just begun
        held = [file.path for copy in waiting for file in copy.open_files()]
        process.kill()
    assert len(waiting) == 2 and held == []
    assert not psutil.wait_procs(waiting, timeout=20)[1]
