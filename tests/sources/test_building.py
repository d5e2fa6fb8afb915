import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.model.options import Options
from wingbeat.model.record import Message, Request
from wingbeat.sources import BadRow, Row
from wingbeat.sources.building import RecordBuilder
from wingbeat.sources.template import Template


def build(columns, *, number=2, **settings):
    """Build the record of a row at position 0."""
    return RecordBuilder(**settings).build(0, Row(number, columns))


def key(columns, **settings):
    """Return the key of a good row."""
    record = build(columns, **settings)
    assert record.fault is None
    return record.key


def test_a_prompt():
    """A prompt becomes a request; other columns are carried only when asked for."""
    record = build({"id": 7, "prompt": "why", "label": "x"})
    assert (record.index, record.id, record.request, record.columns) == (0, 7, Request(prompt="why"), None)
    assert build({"prompt": "why", "label": "x"}, keep_columns=True).columns == {"prompt": "why", "label": "x"}


def test_messages():
    """A conversation's system messages become the system text, the assistant's turns the model's."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
        {"role": "developer", "content": "In verse."},
        {"role": "user", "content": "d"},
    ]
    turns = (Message("user", "ab"), Message("model", "c"), Message("user", "d"))
    wanted = Request(messages=turns, system="Be brief.\n\nIn verse.")
    assert build({"messages": messages}).request == wanted
    assert build({"messages": json.dumps(messages), "prompt": "", "system": ""}).request == wanted


def test_contents():
    """Turns in the service's own form are taken as they are, one or several, as JSON text too."""
    turn = {"role": "user", "parts": [{"text": "a"}]}
    for given_contents in ([turn], turn, json.dumps([turn]), json.dumps(turn)):
        assert build({"contents": given_contents}).request == Request(contents=[turn])


def test_options_of_a_row():
    """Options stand in columns of their own or in `options`, as numbers or as a table's texts, over the run's own."""
    wanted = Options(temperature=0.5, top_k=3, stop=("END",), max_output_tokens=9, extra={"responseMimeType": "x"})
    columns = {"prompt": "a", "temperature": "0.5", "top_k": 3, "stop": "END", "top_p": "", "seed": None}
    columns["options"] = '{"responseMimeType": "x"}'
    run = Options(temperature=1.0, max_output_tokens=9)
    assert build(columns, options=run).request.options == wanted
    columns["options"] = {"responseMimeType": "x", "temperature": 2, "seed": None}
    assert build(columns, options=run).request.options == wanted


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": ""}, "column `prompt` is empty"),
        ({"prompt": None}, "column `prompt` is empty"),
        ({"messages": ""}, "column `messages` is empty"),
        ({"prompt": " \n"}, "column `prompt` is empty"),
        ({"prompt": 3}, "column `prompt` must be a text, not int"),
        ({"prompt": ["a"]}, "column `prompt` must be a text, not list"),
        ({"prompt": "a\0b"}, "column `prompt` holds a NUL character at position 1"),
        ({"prompt": "é\ud800"}, "column `prompt` holds half a surrogate pair at position 1"),
        ({"prompt": "a", "id": "\ud800"}, "column `id` holds half a surrogate pair at position 0"),
        ({}, "has no column `prompt`, `messages` or `contents` (its columns: none)"),
        ({"promt": "a", "id": 1}, "has no column `prompt`, `messages` or `contents` (its columns: `promt`, `id`)"),
        ({"prompt": "a", "system": 3}, "column `system` must be a text, not int"),
        ({"prompt": "a", "temperature": "hot"}, "column `temperature` is not valid JSON: 'hot'"),
        ({"prompt": "a", "temperature": -1}, "bad generation option: temperature -1.0 is not 0 or above"),
        ({"prompt": "a", "top_k": "2.5"}, "bad generation option: "),
        ({"prompt": "a", "temperature": True}, "bad generation option: "),
        ({"prompt": "a", "options": "{"}, "column `options` is not valid JSON: '{'"),
        ({"prompt": "a", "options": [1]}, "column `options` must be a JSON object"),
        ({"messages": "no"}, "column `messages` is not valid JSON: 'no'"),
        ({"messages": []}, "column `messages` must be a list of messages"),
        ({"messages": ["a"]}, "message 0 must be an object with `role` and `content`"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "message 0 has the role 'tool'"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "message 0 has the role ['user']"),
        ({"messages": [{"role": "user"}]}, "message 0 must be a text, not NoneType"),
        ({"messages": [{"role": "system", "content": "a"}]}, "column `messages` has no user message"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "message 0 has a part that is not text"),
        ({"contents": "a"}, "column `contents` is not valid JSON: 'a'"),
        ({"contents": [1]}, "column `contents` must be a list of turns with `role` and `parts`"),
        ({"contents": [{"parts": object()}]}, "can't be encoded as JSON"),
    ],
    ids=range(29),
)
def test_unusable_rows(columns, reason):
    """An unusable row has no request and one line that says why; it can still be written down."""
    record = build(columns, keep_columns=True)
    assert record.request is None
    assert record.fault.startswith(reason)
    assert "\n" not in record.fault
    json.dumps([record.id, record.fault]).encode()
    assert record.columns is None or json.dumps(record.columns)


def test_unusable_rows_keep_their_identifier():
    """A bad row is still known by its identifier, and a row that can't be read by its number."""
    assert build({"id": "x", "prompt": ""}).id == "x"
    builder = RecordBuilder()
    records = [builder.build(n, BadRow(n + 1, "invalid JSON")) for n in range(2)]
    assert [record.fault for record in records] == ["invalid JSON"] * 2
    assert records[0].key != records[1].key


def test_templates():
    """With a template columns are data, not options; a system template is rendered for each row."""
    settings = {"template": Template("{{ text }}!"), "system": Template("In {{ language }}.")}
    columns = {"text": "a", "language": "Basque", "temperature": "hot", "system": 3}
    assert build(columns, **settings).request == Request(prompt="a!", system="In Basque.")
    assert build({"text": "a"}, **settings).fault == "has no column `language`, which the template uses"
    assert (
        build({"text": " ", "language": "x"}, template=Template("{{ text }}")).fault == "the rendered prompt is empty"
    )


def test_identifiers():
    """The identifiers "1" and 1 differ; an empty one is none; any other value is kept as JSON text."""
    ids = ["1", 1, "", None, 1.5, {"b": 1, "a": 2}, 10**30]
    assert [build({"id": value, "prompt": "a"}).id for value in ids] == [
        "1",
        1,
        None,
        None,
        "1.5",
        '{"a":2,"b":1}',
        10**30,
    ]
    assert key({"id": "1", "prompt": "a"}) != key({"id": 1, "prompt": "a"})


def test_run_wide_settings_are_not_in_the_key():
    """The same row has the same key whatever the run's own system text and options."""
    plain = key({"prompt": "a"})
    assert plain == key({"prompt": "a"}, system="Be brief.", options=Options(temperature=0))
    assert plain == key({"prompt": "a", "options": {"temperature": None}, "system": "", "id": ""})


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    str.strip
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
rows = st.fixed_dictionaries(
    {"prompt": texts},
    optional={
        "id": texts | st.integers(),
        "system": texts,
        "temperature": st.sampled_from([0, 0.5, 2]),
        "top_k": st.integers(1, 9),
        "label": values,
    },
)


@given(rows, st.randoms())
def test_column_order_does_not_matter(columns, dice):
    """Rows of equal content have equal keys, in whatever order their columns stand."""
    names = list(columns)
    dice.shuffle(names)
    shuffled = {name: columns[name] for name in names}
    for keep_columns in (False, True):
        assert key(columns, keep_columns=keep_columns) == key(shuffled, keep_columns=keep_columns)


@given(rows, rows)
def test_any_change_changes_the_key(first, second):
    """Two rows have the same key exactly when prompt, identifier, system text and options are the same."""

    def content(columns):
        return [type(columns.get("id")), {name: value for name, value in columns.items() if name != "label"}]

    assert (key(first) == key(second)) == (content(first) == content(second))


@given(rows, st.sampled_from(["prompt", "id", "system", "temperature", "top_k"]))
def test_one_change_changes_the_key(columns, name):
    """Changing any one thing of a row gives it another key."""
    value = columns.get(name)
    changed = {
        **columns,
        name: value + "x" if isinstance(value, str) else (value or 0) + 1 if name != "prompt" else "x",
    }
    if name == "system" and value is None:
        changed["system"] = "x"
    assert key(columns) != key(changed)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3) | st.just(math),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["id", "prompt", "messages", "contents", "system", "options", "temperature", "stop", "role", "content", "x"]


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(NAMES), junk, max_size=5), st.booleans())
def test_building_never_raises(columns, keep_columns):
    """Whatever a row holds, it becomes a record: a request, or a fault in one line that can be written down."""
    record = build(columns, keep_columns=keep_columns)
    assert (record.request is None) == (record.fault is not None)
    assert len(record.key) == 16
    if record.fault is not None:
        record.fault.encode()
        assert len(record.fault.splitlines()) == 1
