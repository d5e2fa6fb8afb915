import json

import pytest

from wingbeat.simulator.dice import Dice
from wingbeat.simulator.instance import make_instance
from wingbeat.simulator.prose import compose, find_topics

from .ask import ask, body, new_app, read


def text(prompt: str, options: str = "", **config) -> str:
    """Return the text of the answer to `prompt`."""
    return read(ask(new_app(options), body(prompt, generationConfig=config)))["candidates"][0]["content"]["parts"][0][
        "text"
    ]


def test_answers_depend_on_prompt_and_seed_only():
    """The same prompt and seed give the same text; another seed, in either place, gives another."""
    assert text("What is basalt?") == text("What is basalt?")
    assert text("What is basalt?", "seed=1") != text("What is basalt?")
    assert text("What is basalt?", seed=5) != text("What is basalt?")


def test_two_thousand_prompts_have_two_thousand_answers():
    """No two prompts share an answer, even if they differ by a digit."""
    answers = {compose("Describe item", Dice(f"Describe item {number}".encode(), "0:0")) for number in range(2000)}
    assert len(answers) == 2000


def test_answers_are_sentences_about_the_topic():
    """An answer is some 20 to 160 tokens of whole sentences, and echoes the topic."""
    for number in range(200):
        answer = compose("", Dice(b"%d" % number, ""))
        assert 60 < len(answer) < 800
        assert answer[0].isupper()
        assert answer.endswith(".")
        assert "  " not in answer
        assert "{" not in answer
    assert "photosynthesis" in text("Explain photosynthesis, please.").lower()


@pytest.mark.parametrize(
    ("prompt", "topics"),
    [
        ("Why did the Hanseatic league decline?", ("Hanseatic", "decline")),
        ("What is 2 + 2?", ("the subject", "its context")),
        ("Define basalt.", ("Define", "basalt")),
    ],
)
def test_topics_are_the_uncommon_words(prompt: str, topics: tuple[str, str]):
    """The topics are the two longest words that are not common ones."""
    assert find_topics(prompt) == topics


SCHEMAS = [
    ({"type": "STRING", "enum": ["a", "b"]}, lambda made: made in ("a", "b")),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, lambda made: len(made) >= 2),
    ({"type": "number", "minimum": 0.5, "maximum": 0.7}, lambda made: 0.5 <= made <= 0.7),
    ({"type": ["string", "null"], "maxLength": 5}, lambda made: len(made) <= 5),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, lambda made: isinstance(made, int)),
    (
        {"$ref": "#/$defs/Leaf", "$defs": {"Leaf": {"type": "object", "properties": {"ok": {"const": 7}}}}},
        lambda made: made == {"ok": 7},
    ),
]


@pytest.mark.parametrize(("schema", "holds"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_instances_satisfy_simple_schemas(schema, holds):
    """The value made for a schema satisfies it, for any prompt."""
    for number in range(50):
        assert holds(make_instance(schema, "prompt", Dice(b"%d" % number, "")))


def test_a_recursive_schema_ends():
    """A schema that refers to itself gives a value of finite depth."""
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}, "required": ["name"]}
    assert len(json.dumps(make_instance(node, "prompt", Dice(b"", "")))) < 5000
