"""``soundmark download`` as a process: killed while it downloads and while it unpacks, and run again."""

import os
import signal
import subprocess
import sys
import time

import pytest

from support.hostile_downloads import contents, hostile, tar_gz, urbansound8k_files

pytestmark = pytest.mark.slow

FILES = urbansound8k_files(clips=60)
ARCHIVE = tar_gz(FILES)

# Runs the command with the data set of the test's server. KILL_AT kills it when that many files are unpacked.
PROGRAM = """if True:
    import os, signal, sys
    from soundmark.datasets.download import archives, sources
    from support.hostile_downloads import urbansound8k_files, tar_gz, urbansound8k_source
    content = tar_gz(urbansound8k_files(clips=60))
    sources.SOURCES["urbansound8k"] = urbansound8k_source(os.environ["ADDRESS"], content, clips=60)
    kill_at, write = int(os.environ.get("KILL_AT", "0")), archives._write
    def counted(*arguments, seen=[]):
        seen.append(1)
        if len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments)
    archives._write = counted
    from soundmark.cli import main
    sys.argv = ["soundmark", "download", "urbansound8k", *sys.argv[1:]]
    main()
"""


def start(server, folder, **environment):
    env = {**os.environ, "ADDRESS": server.address, **environment}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    output, messages = process.communicate(timeout=120)
    return process.returncode, output, messages


def check_complete(folder):
    found = contents(folder)
    data = {name: content for name, content in found.items() if name.startswith("UrbanSound8K/")}
    assert data == {name: content for name, content in FILES.items() if "/." not in name}
    assert not [name for name in found if "part" in name or "unpacking" in name]


def wait_for_part(folder, n_bytes):
    part = folder / "UrbanSound8K.tar.gz.part"
    for _ in range(3000):
        if part.is_file() and part.stat().st_size >= n_bytes:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was downloaded")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_during_the_download_the_same_command_resumes(number, status, tmp_path):
    folder = tmp_path / "data"
    with hostile(ARCHIVE) as server:
        server.holds_at = len(ARCHIVE) // 2
        process = start(server, folder)
        wait_for_part(folder, len(ARCHIVE) // 3)
        process.send_signal(number)
        returned, output, messages = finish(process)
        assert (returned, output) == (status, "")
        assert "Traceback" not in messages
        if number != signal.SIGKILL:
            assert messages.endswith("stopped. Finished work is kept: run the same command again to resume.\n")
        assert not (folder / "UrbanSound8K").exists()
        server.holds_at = None
        returned, output, messages = finish(start(server, folder))
        assert (returned, output) == (0, ""), messages
    assert int(server.ranges[-1].removeprefix("bytes=").rstrip("-")) >= len(ARCHIVE) // 3
    assert messages.splitlines()[-1] == f"Next: soundmark inspect {folder / 'UrbanSound8K'}"
    check_complete(folder)


@pytest.mark.parametrize("kill_at", ["1", "2", "30", "62"])
def test_killed_while_unpacking_the_same_command_completes(kill_at, tmp_path):
    folder = tmp_path / "data"
    with hostile(ARCHIVE) as server:
        returned, _, messages = finish(start(server, folder, KILL_AT=kill_at))
        assert returned == -9, messages
        assert not (folder / "UrbanSound8K").exists()
        returned, _, messages = finish(start(server, folder))
        assert returned == 0, messages
        assert len(server.ranges) == 1  # the archive is not downloaded again
    check_complete(folder)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "soundmark.cli", "inspect", str(folder / "UrbanSound8K"), "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_two_downloads_into_one_folder_do_not_mix(tmp_path):
    folder = tmp_path / "data"
    with hostile(ARCHIVE) as server:
        server.holds_at = len(ARCHIVE) // 2
        first = start(server, folder)
        wait_for_part(folder, 1)
        returned, _, messages = finish(start(server, folder))
        assert returned == 2
        assert "another soundmark process is writing to" in messages
        server.holds_at = None
        assert finish(first)[0] == 0
    check_complete(folder)
