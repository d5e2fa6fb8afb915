import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Running, read_rows, serving, wait_until, write_prompts

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("most_bytes", [60_000, 200_000])
def test_a_full_disk_stops_the_run_and_loses_nothing(most_bytes: int):
    """A disk that takes no more stops the run with one clear error; with room again, the same command goes on."""
    write_prompts(300)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    arguments = ("in.jsonl", "-o", "out.jsonl", "--concurrency", 8)
    with serving("--latency", "0.01") as server:
        run = Running(arguments, server.url, preexec_fn=limit)
        assert run.wait() == 3
        assert "Traceback" not in run.err
        assert "error: " in run.err
        assert "out.jsonl" in run.err
        kept = {row["id"] for row in read_rows()}
        asked = server.statistics()["answered"]
        assert Running(arguments, server.url).wait() == 0
        assert server.statistics()["answered"] - asked <= 300 - len(kept)
    rows = read_rows()
    assert sorted(row["index"] for row in rows) == list(range(300))
    assert kept <= {row["id"] for row in rows}


@pytest.fixture
def small_disk(folder: Path):
    """A disk of 300 kB, where mounting is permitted."""
    place = folder / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_without_space_is_named(small_disk: Path, folder: Path):
    """No space left on the disk is said in these words, and what was answered is kept."""
    write_prompts(400)
    output = small_disk / "out.jsonl"
    with serving("--latency", "0") as server:
        run = Running(("in.jsonl", "-o", output), server.url)
        assert run.wait() == 3
        assert "Traceback" not in run.err
        assert "disk is full" in run.err or "No space left" in run.err
        for path in small_disk.iterdir():
            shutil.copy(path, folder)
        assert Running(("in.jsonl", "-o", "out.jsonl"), server.url).wait() == 0
    assert sorted(row["index"] for row in read_rows()) == list(range(400))


def test_a_second_process_on_one_output_is_refused():
    """While a run writes an output, a second one ends with exit code 2, and the first is not disturbed."""
    write_prompts(30)
    with serving("--latency", "1") as server:
        first = Running(("in.jsonl", "-o", "out.jsonl", "--concurrency", 15), server.url)
        wait_until(lambda: server.statistics()["in_flight"] > 0)
        second = Running(("in.jsonl", "-o", "out.jsonl"), server.url)
        assert second.wait() == 2
        assert "another process is writing" in second.err
        assert first.wait() == 0
        assert set(server.statistics()["answers_by_prompt"].values()) == {1}
    assert len(read_rows()) == 30
