"""Kill a process at any instant, and begin again: every committed row stands in the output exactly once."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from wingbeat.journal import Journal
from wingbeat.journal.store import Entry
from wingbeat.sinks import open_sink
from wingbeat.sinks.output import OutputMark

WRITING = """
import sys
from pathlib import Path
from wingbeat.journal.store import Entry, Journal, journal_path
from wingbeat.sinks import open_sink
output = Path(sys.argv[1])
journal = Journal(journal_path(output))
sink = open_sink(output, journal, columns=(), ordered=False)
sink.resume()
mark = journal.output_mark()
position = journal.count()
while True:
    group = [
        Entry(b"%016d" % p, p, True, b'{"id":null,"index":%d,"text":"a\\\\nb"}' % p)
        for p in range(position, position + 7)
    ]
    seq = journal.add(group, output=mark)
    print(seq, flush=True)
    mark = sink.append([entry.line for entry in group], seq)
    position += 7
"""


def check(output):
    """Resume an output and check that it holds every committed row once; return how many."""
    with Journal(output.with_name(output.name + ".journal")) as journal:
        sink = open_sink(output, journal, columns=(), ordered=False)
        sink.resume()
        sink.finish()
        count = journal.count()
    lines = output.read_text().splitlines()
    if output.suffix == ".csv":
        assert lines[0].startswith("id,index,text")
        assert len(lines) - 1 == 2 * count
    else:
        assert [json.loads(line)["index"] for line in lines] == list(range(count))
    return count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_killed_at_random_instants(tmp_path, name):
    """A writer killed with SIGKILL at random instants, again and again, loses nothing that it had committed."""
    output = tmp_path / name
    dice = random.Random(7)
    known = 0
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITING, str(output)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline()
            time.sleep(dice.random() * 0.04)  # the instant of the kill is what is random here
            os.kill(writer.pid, signal.SIGKILL)
            told = [int(line) for line in writer.stdout.read().split(b"\n") if line]
        known = max([known, *told])
        assert check(output) >= known
        known = check(output)


def entry(position):
    """Return the outcome of a position."""
    return Entry(b"%016d" % position, position, True, b'{"id":null,"index":%d,"text":"a\\nb"}' % position)


def snapshots(folder, name):
    """Go through a run; after each of its steps keep a copy of its files, and yield what was committed by then."""
    run = folder / "run"
    run.mkdir()
    step = 0

    def photograph(committed):
        nonlocal step
        step += 1
        copy = folder / f"step-{step}"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("*.lock", "*-shm"))
        return copy / name, committed

    with Journal(run / f"{name}.journal") as journal:
        yield photograph(0)
        sink = open_sink(run / name, journal, columns=(), ordered=False)
        sink.resume()
        yield photograph(0)
        mark = journal.output_mark()
        for position in range(0, 9, 3):
            group = [entry(position + offset) for offset in range(3)]
            seq = journal.add(group, output=mark)
            yield photograph(position + 3)
            mark = sink.append([row.line for row in group], seq)
            yield photograph(position + 3)
        journal.move([(1, 1), (2, 0)])
        journal.move([(1, 0), (2, 1)])
        yield photograph(9)
        sink.resume()
        yield photograph(9)
        sink.finish()
        yield photograph(9)


def torn(output):
    """Cut the last line in two."""
    output.write_bytes(output.read_bytes()[:-5])


def overlong(output):
    """Add rows that no commit knows, and half of another."""
    output.write_bytes(output.read_bytes() + b'{"index":77}\n{"ind')


def missing(output):
    """Take the file away."""
    output.unlink()


def foreign(output):
    """Put another file of the same size in its place."""
    output.write_bytes(b"#" * output.stat().st_size)


def longer_foreign(output):
    """Put a longer file in its place."""
    output.write_bytes(b"not ours\n" * 1000)


def zeroed(output):
    """Leave the size and lose the last bytes, as a power cut may."""
    content = output.read_bytes()
    output.write_bytes(content[:-20] + bytes(min(20, len(content))))


def edited(output):
    """Change one byte in the middle."""
    content = bytearray(output.read_bytes())
    if content:
        content[len(content) // 2] ^= 1
    output.write_bytes(content)


def untouched(output):
    """Leave all as it is."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_resumed_after_every_step(tmp_path, name):
    """From the files as they are after any step, left alone or harmed in any way, the output comes out whole."""
    for output, committed in list(snapshots(tmp_path, name)):
        for harm in (untouched, torn, overlong, missing, foreign, longer_foreign, zeroed, edited):
            if harm is not untouched and not output.exists():
                continue
            copy = tmp_path / f"{output.parent.name}-{harm.__name__}"
            shutil.copytree(output.parent, copy)
            harm(copy / name)
            assert check(copy / name) == committed, (output, harm)
            assert check(copy / name) == committed


def test_a_kill_while_the_output_is_replaced(tmp_path):
    """A half-written replacement left by a kill is overwritten, and does not stay."""
    output = tmp_path / "out.jsonl"
    with Journal(tmp_path / "out.jsonl.journal") as journal:
        journal.add([entry(0)], output=OutputMark())
    (tmp_path / "out.jsonl.part").write_bytes(b'{"inde')
    assert check(output) == 1
    assert not (tmp_path / "out.jsonl.part").exists()
