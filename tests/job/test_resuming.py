"""Matching rows with what an earlier run has left, and the output that comes of it."""

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.job import Selection, scan
from wingbeat.job.resuming import Bits, Resumption
from wingbeat.journal import Journal, journal_path
from wingbeat.journal.store import Entry
from wingbeat.sinks import open_sink
from wingbeat.sources import Row
from wingbeat.sources.building import RecordBuilder


class Rows:
    """An input held in memory."""

    name = "the input"
    unit = "row"
    columns = None
    can_reread = True

    def __init__(self, rows):
        self._rows = rows

    def rows(self):
        for number, row in enumerate(self._rows, 1):
            yield Row(number, row if isinstance(row, dict) else {"prompt": row})


def run(output, rows, *, limit=None, most=None, fails=(), retry_failed=False, ordered=False, dice=None):
    """
    Go through a run as a job does, answering at most ``most`` rows; return how many were left and how many asked.

    The answer to a prompt names the prompt, so that a mismatch shows.
    """
    source, builder, selection = Rows(rows), RecordBuilder(), Selection(limit)
    with Journal(journal_path(output)) as journal:
        resumption = Resumption(journal, retry_failed=retry_failed)
        found = scan(source, builder, selection, resumption)
        resumption.settle(whole_input=not selection.is_partial)
        sink = open_sink(output, journal, columns=(), ordered=ordered)
        sink.resume()
        mark = journal.output_mark()
        asked = [builder.build(position, row) for position, row in selection.rows(source) if not found.done[position]]
        assert len(asked) == found.remaining
        assert resumption.answered + resumption.failed == found.rows - found.remaining
        if dice is not None:
            dice.shuffle(asked)
        asked = asked[:most]
        for start in range(0, len(asked), 1000):
            entries = [
                Entry(record.key, record.index, record.request.prompt not in fails, answer(record))
                for record in asked[start : start + 1000]
            ]
            seq = journal.add(entries, output=mark)
            mark = sink.append([entry.line for entry in entries], seq)
        sink.finish()
    return found.remaining, len(asked)


def answer(record):
    """Return the output row of a record."""
    return json.dumps({"id": record.id, "index": record.index, "text": record.request.prompt}).encode()


def check(output, rows):
    """Check that the output has exactly one row for each row of the input, the right one."""
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    prompts = [row["prompt"] if isinstance(row, dict) else row for row in rows]
    ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
    assert sorted(line["index"] for line in lines) == list(range(len(rows)))
    assert all(line["text"] == prompts[line["index"]] for line in lines)
    assert all(line["id"] == ids[line["index"]] for line in lines)


@pytest.fixture
def output(tmp_path):
    """Return where an output is to lie."""
    return tmp_path / "out.jsonl"


@pytest.mark.parametrize(
    ("first", "second", "remaining"),
    [
        ("abc", "abc", 0),
        ("abc", "abcde", 2),
        ("abc", "xabc", 1),
        ("abc", "cba", 0),
        ("abc", "b", 0),
        ("abc", "xyz", 3),
        ("aab", "abb", 1),
        ("a", "aaaa", 3),
        ("aaaa", "a", 0),
        ("aaab", "baaa", 0),
    ],
)
@pytest.mark.parametrize("ordered", [False, True])
def test_changed_inputs(output, first, second, remaining, ordered):
    """Rows added, removed, moved or repeated: only new ones are asked, and the output is that of the new input."""
    assert run(output, first, ordered=ordered) == (len(first), len(first))
    assert run(output, second, ordered=ordered)[0] == remaining
    check(output, second)
    assert run(output, second, ordered=ordered)[0] == 0


def test_rows_that_come_back(output):
    """A row that was taken out and put in again has its answer still."""
    run(output, "abc")
    run(output, "b")
    assert run(output, "cab") == (0, 0)
    check(output, "cab")


def test_changed_identifiers(output):
    """A row with another identifier is another row."""
    run(output, [{"id": n, "prompt": "a"} for n in range(3)])
    rows = [{"id": 2, "prompt": "a"}, {"id": "1", "prompt": "a"}, {"id": 0, "prompt": "a"}]
    assert run(output, rows) == (1, 1)
    check(output, rows)


def test_failed_rows_again(output):
    """A failed row counts as done, and is asked again only when that is wanted."""
    run(output, "abab", fails="b")
    assert run(output, "abab") == (0, 0)
    assert run(output, "abab", retry_failed=True) == (2, 2)
    check(output, "abab")
    assert run(output, "abab", retry_failed=True) == (0, 0)


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
def test_a_part_of_the_input(output, limit):
    """A run over the first rows only does not lose the answers of the others."""
    run(output, "abcd")
    assert run(output, "abcd", limit=limit) == (0, 0)
    assert run(output, "abcd") == (0, 0)
    check(output, "abcd")


def test_parts_then_the_whole(output):
    """Growing parts, then the whole: each row is asked once."""
    assert [run(output, "abcab", limit=limit)[1] for limit in (1, 3, 4, None)] == [1, 2, 1, 1]
    check(output, "abcab")


@pytest.mark.slow
def test_one_prompt_20000_times(output):
    """The same prompt many times over is resumed in one pass: each row finds an answer of its own."""
    rows = ["why"] * 20_000
    assert run(output, rows, most=15_000) == (20_000, 15_000)
    assert run(output, rows) == (5_000, 5_000)
    check(output, rows)


@pytest.mark.slow
def test_many_prompts_several_times(output, monkeypatch):
    """When more keys are repeated than are remembered, each row still finds an answer of its own."""
    monkeypatch.setattr("wingbeat.job.resuming.MOST_REPEATED_KEYS", 5)
    rows = [f"p{n % 10}" for n in range(400)]
    run(output, rows)
    assert run(output, rows) == (0, 0)
    check(output, rows)


def test_a_row_met_while_its_like_is_answered(output):
    """On a pipe, a row does not take the answer that this very run has just given to an equal row."""
    builder = RecordBuilder()
    records = [builder.build(position, Row(position + 1, {"prompt": "a"})) for position in range(3)]
    with Journal(journal_path(output)) as journal:
        journal.add([Entry(records[0].key, 0, True, answer(records[0]))])
        resumption = Resumption(journal, retry_failed=False)
        assert resumption.claim(records[0])
        assert not resumption.claim(records[1])
        journal.add([Entry(records[1].key, 1, True, answer(records[1]))])
        assert not resumption.claim(records[2])


def test_bits():
    """Bits far apart are kept, those between stay clear."""
    bits = Bits()
    for position in (0, 7, 8, 100_000):
        bits.add(position)
    assert [n for n in range(100_010) if bits[n]] == [0, 7, 8, 100_000]


inputs = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12)
steps = st.tuples(inputs, st.none() | st.integers(0, 6), st.sampled_from(["", "ab"]), st.booleans(), st.booleans())


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_any_history_of_inputs(history, dice):
    """
    Whatever inputs were run before and how far, each answer goes to one row, and each row of the last has one.

    A model keeps the answers as multisets; what is left to ask must agree with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.jsonl"
        answered, failed = Counter(), Counter()
        for rows, most, fails, retry_failed, is_last in history:
            wanted = Counter(rows)
            remaining, _ = run(
                output, rows, most=None if is_last else most, fails=fails, retry_failed=retry_failed, dice=dice
            )
            # Oldest outcomes are matched first, so how many failed ones are met and asked again is bounded, not fixed.
            missing = sum((wanted - (answered + failed)).values())
            again = sum((wanted & failed).values()) if retry_failed else 0
            assert missing <= remaining <= missing + again
            answered, failed = contents(output)
            if is_last:
                check(output, rows)
        run(output, history[-1][0])
        check(output, history[-1][0])
        assert run(output, history[-1][0]) == (0, 0)


def contents(output):
    """Return the kept outcomes by prompt: answered ones and failed ones."""
    answered, failed = Counter(), Counter()
    with Journal(journal_path(output)) as journal:
        for seq, _position, ok in journal.positions():
            (answered if ok else failed)[json.loads(journal.line(seq))["text"]] += 1
    return answered, failed
