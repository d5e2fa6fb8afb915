"""What can be known before the first request is refused with exit code 2, in a line with a hint, and leaves no file."""

import json
from pathlib import Path

import pytest

from .conftest import SIM, Command

GOOD = '{"prompt": "Why is it?"}\n{"prompt": "Who is it?"}\n'


@pytest.fixture(autouse=True)
def files(folder: Path) -> None:
    """Input files, most of them wrong."""
    Path("in.jsonl").write_text(GOOD)
    Path("in.csv").write_text("name,text\nx,y\n")
    Path("twice.jsonl").write_text('{"id": 1, "prompt": "Why?"}\n{"id": 1, "prompt": "Who?"}\n')
    Path("empty.jsonl").write_text("")
    Path("none.csv").write_text("\n")
    Path("no.parquet").write_text("PAR0")
    Path("torn.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00torn")
    Path("utf16.jsonl").write_bytes(GOOD.encode("utf-16"))
    Path("in.docx").write_text("x")
    Path("list.json").write_text("[1]")
    Path("folder.jsonl").mkdir()
    Path("old.jsonl").write_text("somebody's own file\n")


CASES = [
    (["in.csv"], "`in.csv` has no column `prompt`, `messages` or `contents`", "--template 'Classify: {{ name }}'"),
    (["in.csv", "--template", "{{ nope }}"], "`in.csv` has no column `nope`", "its columns are `name`, `text`"),
    (["in.csv", "--template", "{{ text }}", "--system", "{{ nope }}"], "no column `nope`", "its columns"),
    (["in.jsonl", "--template", "{{ nope }}"], "line 1 has no column `nope`", "--template"),
    (["in.jsonl", "--template", "{{ prompt"], "the template is wrong at line 1", ""),
    (["in.jsonl", "--template", "{{ prompt|nofilter }}"], "No filter named 'nofilter'", ""),
    (["in.jsonl", "--template", "nofile.txt"], "the template 'nofile.txt' is neither a file nor", "{{ text }}"),
    (["in.jsonl", "--template", "folder.jsonl"], "can't read the template `folder.jsonl`", ""),
    (["in.jsonl", "--system", "{% if"], "the system text is wrong at line 1", ""),
    (["in.jsonl", "--model", "gpt-4"], "unknown model 'gpt-4'", "sim/gemini-2.5-flash"),
    (["in.jsonl", "--model", ""], "no model is named", "--model"),
    (["in.jsonl", "--model", "sim/gpt-4"], "the simulator has no model 'gpt-4'", "sim/gemini"),
    (["in.jsonl", "--model", "gemini-2.5-flash"], "there is no API key", "GEMINI_API_KEY"),
    (["in.jsonl", *SIM[:2], "--simulator", "speed=9"], "unknown key 'speed'", ""),
    (["in.jsonl", "--simulator", "fault.reset=5"], "fault reset is 5.0", ""),
    (["in.jsonl", "-o", "out.docx"], "can't tell the format of the output `out.docx`", ".jsonl"),
    (["in.jsonl", "-o", "nowhere/out.jsonl"], "there is no folder `nowhere`", "make it"),
    (["in.jsonl", "-o", "folder.jsonl"], "is a folder", "name a file"),
    (["in.jsonl", "-o", "in.jsonl"], "the output `in.jsonl` is the input", "another output"),
    (["in.jsonl", "-o", "in.jsonl", "--overwrite"], "the output `in.jsonl` is the input", "another output"),
    (["in.jsonl", "-o", "old.jsonl"], "exists and wingbeat has no journal of it", "--overwrite"),
    (["in.jsonl", "-o", "x" * 300 + ".jsonl"], "can't use the output", ""),
    (["in.jsonl", "-o", "out.jsonl", "--journal", "nowhere/x"], "no folder `nowhere` for the journal", "make it"),
    (["in.jsonl", "-o", "out.jsonl", "--journal", "folder.jsonl"], "the journal `folder.jsonl` is a folder", ""),
    (["in.jsonl", "-o", "out.jsonl", "--journal", "out.jsonl"], "the journal `out.jsonl` is the output", ""),
    (["in.jsonl", "-o", "out.jsonl", "--journal", "in.jsonl"], "`in.jsonl` is not a journal of wingbeat", ""),
    (["in.jsonl", "-o", "/proc/out.jsonl"], "/proc/out.jsonl", ""),
    (["twice.jsonl"], "`twice.jsonl` has the id 1 twice, in lines 1 and 2", "unique"),
    (["nofile.jsonl"], "there is no file `nofile.jsonl`", ""),
    (["folder.jsonl"], "is a folder", ""),
    (["in.docx"], "can't tell the format of `in.docx`", ".jsonl"),
    (["empty.jsonl"], "`empty.jsonl` holds no rows", ""),
    (["none.csv"], "`none.csv` has no header row", ""),
    (["no.parquet"], "`no.parquet` is not a Parquet file", ""),
    (["torn.jsonl.gz"], "`torn.jsonl.gz` is torn", ""),
    (["utf16.jsonl"], "`utf16.jsonl` is UTF-16, not UTF-8", "iconv"),
    ([" "], "the prompt is empty", ""),
    (["in.jsonl", "--repeat", "2"], "`--repeat` goes with a prompt in quotes", ""),
    (["in.jsonl", "--temperature", "99"], "temperature 99.0", ""),
    (["in.jsonl", "--temperature", "nan"], "temperature nan", ""),
    (["in.jsonl", "--rpm", "nan"], "rpm must be above zero, not nan", ""),
    (["in.jsonl", "--rpm", "0"], "--rpm", "--help"),
    (["in.jsonl", "--rpm", "many"], "--rpm", "--help"),
    (["in.jsonl", "--concurrency", "0"], "--concurrency", "--help"),
    (["in.jsonl", "--concurrency", "9999999"], "concurrency must be from 1 to 100,000", ""),
    (["in.jsonl", "--max-attempts", "0"], "--max-attempts", ""),
    (["in.jsonl", "--options", "nofile.json"], "can't read the options file `nofile.json`", ""),
    (["in.jsonl", "--options", "in.csv"], "the options file `in.csv` is not valid", ""),
    (["in.jsonl", "--options", "list.json"], "must hold an object", ""),
    (["in.jsonl", "--thinking-budget", "1", "--thinking-level", "low"], "exclude each other", ""),
    (["in.jsonl", "--system", "a\udcffb"], "not valid UTF-8", ""),
    (["in.jsonl", "--bogus"], "no such option", "--help"),
    (["in.jsonl", "--limit", "1.5"], "--limit", "--help"),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), CASES, ids=lambda value: None)
def test_a_mistake_is_one_clear_line(command: Command, arguments: list[str], message: str, hint: str):
    """A mistake ends with exit code 2, says what and where in one line, hints what to do, and leaves no file behind."""
    before = sorted(Path().iterdir())
    route = () if "--model" in arguments else SIM
    output = () if "-o" in arguments else ("-o", "out.jsonl")
    said = command("run", *route, *arguments, *output)
    assert said.code == 2
    assert said.out == ""
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not errors[0].endswith(".")
    assert hint in said.err
    assert "Traceback" not in said.err
    assert sorted(Path().iterdir()) == before


def test_all_problems_are_told_at_once(command: Command):
    """Everything that is wrong with a command is said in one go."""
    said = command(
        *("run", "nofile.jsonl", "-o", "out.docx", "--model", "gpt-4", "--temperature", 99),
        *("--template", "{{ x", "--system", "{% if", "--rpm", "nan"),
    )
    assert said.code == 2
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 7
    for part in ("gpt-4", "temperature", "template", "system text", "nofile.jsonl", "out.docx", "rpm"):
        assert any(part in line for line in errors), part


BAD_ROWS = [
    (b"not json", "invalid JSON"),
    (b'{"prompt": ""}', "column `prompt` is empty"),
    (b'{"prompt": "  "}', "column `prompt` is empty"),
    (b'{"prompt": "a\\u0000b"}', "NUL character at position 1"),
    (b'{"prompt": 3}', "must be a text, not int"),
    (b"[1]", "a JSON object is expected, not an array"),
    (b'{"prompt": "\xff"}', "not UTF-8: byte 0xff at position 12"),
    (b'{"text": "x"}', "has no column `prompt`"),
    (b'{"messages": []}', "column `messages`"),
    (b'{"messages": [{"role": "judge", "content": "x"}]}', "role 'judge'"),
    (b'{"prompt": "x", "temperature": "hot"}', "temperature"),
    (b'{"prompt": "x", "options": {"nope": 1}}', "no option 'nope'"),
    (b"[" * 5000, "invalid JSON"),
]


@pytest.fixture
def bad_rows() -> Path:
    """A file with one good row and one of each bad kind."""
    path = Path("bad.jsonl")
    path.write_bytes(b"\n".join([b'{"id": "good", "prompt": "Why?"}', *(row for row, _ in BAD_ROWS)]) + b"\n")
    return path


def test_a_bad_row_fails_alone(simulate: Command, bad_rows: Path):
    """Each bad row becomes a failed row that says why, the good one is answered, and the exit code is 1."""
    said = simulate(bad_rows, "-o", "out.jsonl")
    assert said.code == 1
    rows = {row["index"]: row for row in map(json.loads, Path("out.jsonl").read_text().splitlines())}
    assert len(rows) == len(BAD_ROWS) + 1
    assert rows[0]["error"] is None
    for index, (_, reason) in enumerate(BAD_ROWS, 1):
        assert rows[index]["error"]["kind"] == "invalid_input"
        assert reason in rows[index]["error"]["message"]
        assert rows[index]["text"] is None


def test_strict_refuses_the_whole_input(simulate: Command, bad_rows: Path):
    """With `--strict` every bad row is told with file and line, nothing is asked and no file is left."""
    said = simulate(bad_rows, "-o", "out.jsonl", "--strict")
    assert said.code == 2
    for number, (_, reason) in enumerate(BAD_ROWS, 2):
        assert any(f"`bad.jsonl` line {number}: " in line and reason in line for line in said.err.splitlines())
    assert "--strict" in said.err
    assert not list(Path().glob("out*"))


def test_check_reads_everything_and_asks_nothing(simulate: Command, bad_rows: Path):
    """`--check` lists every bad row by file and line on standard output, ends with 2, and leaves no file."""
    said = simulate(bad_rows, "-o", "out.jsonl", "--check")
    assert said.code == 2
    lines = said.out.splitlines()
    for line, number, (_, reason) in zip(lines, range(2, 99), BAD_ROWS, strict=False):
        assert line.startswith(f"bad.jsonl:{number}: ")
        assert reason in line
    assert lines[-1] == f"bad.jsonl: {len(BAD_ROWS) + 1} rows, {len(BAD_ROWS)} wrong, 1 good"
    assert not list(Path().glob("out*"))
    assert simulate("in.jsonl", "--check").code == 0


@pytest.mark.slow
def test_a_line_of_a_hundred_megabytes_fails_alone(simulate: Command):
    """A line longer than any service takes is a failed row, not an end of memory."""
    with open("long.jsonl", "wb") as file:
        file.write(b'{"prompt": "Why?"}\n{"prompt": "')
        file.writelines(b"x" * 2**20 for _ in range(100))
        file.write(b'"}\n')
    said = simulate("long.jsonl", "-o", "out.jsonl")
    assert said.code == 1
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert sorted((row["error"] or {}).get("message", "") for row in rows) == ["", "the row is longer than 32 MiB"]


def test_a_mistake_does_not_bind_the_next_run(simulate: Command):
    """A refused run leaves nothing that refuses the mended one; nor does a run that answered nothing."""
    assert simulate("in.jsonl", "-o", "out.jsonl", "--template", "{{ nope }}").code == 2
    assert simulate("in.jsonl", "-o", "out.jsonl", "--simulator", "rpm=0").code == 3
    assert simulate("in.jsonl", "-o", "out.jsonl", "--temperature", 1).code == 0


def test_the_dry_run_makes_no_file(simulate: Command):
    """`--dry-run` shows the plan and leaves nothing behind."""
    before = sorted(Path().iterdir())
    said = simulate("in.jsonl", "-o", "out.jsonl", "--dry-run", "--rpm", 10)
    assert said.code == 0
    assert said.out == ""
    assert "in.jsonl: 2 rows" in said.err
    assert "10 requests/min" in said.err
    assert sorted(Path().iterdir()) == before


def test_options_that_every_request_is_refused_for_stop_the_run(simulate: Command):
    """Twenty requests refused as invalid and none answered stop the run, name the reason, and bind nobody to it."""
    Path("in.txt").write_text("".join(f"Question {number}?\n" for number in range(200)))
    said = simulate("in.txt", "-o", "out.jsonl", "--temperature", "5", "--concurrency", "4")
    assert said.code == 3
    assert "temperature must be in the range" in said.err
    assert simulate("in.txt", "-o", "out.jsonl", "--temperature", "1").code == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 200


def test_a_journal_is_not_put_over_another_file(simulate: Command):
    """With `--journal` of another output an existing file is refused, and stays as it was."""
    Path("in.txt").write_text("Why?\n")
    assert simulate("in.txt", "-o", "a.jsonl", "--journal", "x.journal").code == 0
    Path("b.jsonl").write_text("made by hand\n")
    said = simulate("in.txt", "-o", "b.jsonl", "--journal", "x.journal")
    assert said.code == 2
    assert "belongs to the output `a.jsonl`" in said.err
    assert Path("b.jsonl").read_text() == "made by hand\n"


def test_a_missing_file_with_a_space_in_its_name_is_no_prompt(simulate: Command):
    """What ends like an input file is one, spaces or not."""
    said = simulate("my prompts.csv", "-o", "out.jsonl")
    assert said.code == 2
    assert "there is no file `my prompts.csv`" in said.err


def test_a_plan_needs_no_key_and_a_check_no_model(command: Command):
    """`--dry-run` and `--check` ask nobody anything."""
    Path("in.txt").write_text("Why?\n")
    assert command("run", "in.txt", "--dry-run", "--model", "gemini-2.5-flash").code == 0
    assert command("run", "in.txt", "--check").code == 0
