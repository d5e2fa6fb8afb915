"""What the simulated model says: text, thoughts and token counts, decided from the prompt and the seed alone."""

from math import ceil

import msgspec

from wingbeat.simulator.catalogue import Model
from wingbeat.simulator.dice import Dice
from wingbeat.simulator.instance import make_instance
from wingbeat.simulator.prose import compose, find_topics, sentence
from wingbeat.simulator.request import BYTES_PER_TOKEN, MEDIA_TOKENS, GenerateRequest, Media

THOUGHT_TOKENS = (24, 240)
"""Range of tokens that a model thinks for by default. Assumed: single recordings show 35, 72 and 127."""
_LEVELS = {"MINIMAL": 0.25, "LOW": 0.5, "MEDIUM": 1.0, "HIGH": 2.0, "XHIGH": 3.0}


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one exchange; thoughts are not part of the output."""

    input_tokens: int
    media_tokens: tuple[tuple[str, int], ...]
    output_tokens: int
    thought_tokens: int


class Candidate(msgspec.Struct, frozen=True):
    """One answer: its text, why it ended, and a summary of its thoughts if they were asked for."""

    text: str
    finish_reason: str
    thoughts: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """All candidates for one prompt, or the reason why the prompt was blocked."""

    candidates: tuple[Candidate, ...]
    usage: Usage
    fingerprint: str
    block_reason: str | None = None


def count_input(request: GenerateRequest) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Return all input tokens, and those of media by modality."""
    by_modality: dict[str, int] = {}
    for media in request.media():
        modality = _modality(media)
        by_modality[modality] = by_modality.get(modality, 0) + MEDIA_TOKENS
    return request.text_tokens() + sum(by_modality.values()), tuple(by_modality.items())


def answer(
    request: GenerateRequest, model: Model, seed: int, input_tokens: int, media_tokens: tuple[tuple[str, int], ...]
) -> tuple[Answer, Dice]:
    """
    Decide the answer to a checked request, and return it with the dice for what else depends on the prompt.

    Four marks in a prompt ask for a special outcome: ``[[blocked]]``, ``[[safety]]``, ``[[recitation]]`` and
    ``[[empty]]``.
    """
    prompt = request.prompt
    system = request.system_text
    source = f"{system}\0{prompt}".encode() if system else prompt.encode()
    config = request.generation_config
    salt = f"{seed}:{config.seed or 0}"
    dice = Dice(source, salt)
    marked = _marked(prompt) if "[[" in prompt else None
    if marked is not None:
        usage = Usage(input_tokens, media_tokens, 0, 0)
        if marked == "PROHIBITED_CONTENT":
            return Answer((), usage, dice.fingerprint, marked), dice
        return Answer((Candidate("", marked),), usage, dice.fingerprint), dice

    thought_tokens = _thought_tokens(request, model, dice)
    most = min(config.max_output_tokens or model.output_token_limit, model.output_token_limit)
    thought_tokens = min(thought_tokens, most)
    candidates = []
    output_tokens = 0
    for index in range(config.candidate_count or 1):
        own = dice if index == 0 else Dice(source, f"{salt}:{index}")
        candidate = _candidate(request, prompt, own, most - thought_tokens, thinks=thought_tokens > 0)
        candidates.append(candidate)
        output_tokens += count_text(candidate.text)
    usage = Usage(input_tokens, media_tokens, output_tokens, thought_tokens)
    return Answer(tuple(candidates), usage, dice.fingerprint), dice


def count_text(text: str) -> int:
    """Return the tokens of a text: one for each four UTF-8 bytes, rounded up."""
    return ceil(len(text.encode()) / BYTES_PER_TOKEN)


def _candidate(request: GenerateRequest, prompt: str, dice: Dice, room: int, *, thinks: bool) -> Candidate:
    config = request.generation_config
    schema = config.response_json_schema if config.response_schema is None else config.response_schema
    if config.response_mime_type == "text/x.enum":
        text = str(make_instance(schema, prompt, dice))
    elif config.response_mime_type == "application/json" or schema is not None:
        value = {"answer": compose(prompt, dice)} if schema is None else make_instance(schema, prompt, dice)
        text = msgspec.json.encode(value).decode()
    else:
        text = compose(prompt, dice)
    reason = "STOP"
    for stop in config.stop_sequences:
        if stop:
            text = text.partition(stop)[0]
    if count_text(text) > room:
        text = text.encode()[: room * BYTES_PER_TOKEN].decode(errors="ignore")
        reason = "MAX_TOKENS"
    thoughts = None
    if thinks and config.thinking_config.include_thoughts:
        thoughts = f"**Weighing the question**\n\n{sentence(find_topics(prompt), dice)}\n"
    return Candidate(text, reason, thoughts)


def _thought_tokens(request: GenerateRequest, model: Model, dice: Dice) -> int:
    """Return how long the model thinks: off, by default, by level, or up to a budget."""
    thinking = request.generation_config.thinking_config
    least, most = THOUGHT_TOKENS
    drawn = least + dice.below(most - least)
    budget = thinking.thinking_budget
    asked = thinking.thinking_level is not None or (budget is not None and budget != 0)
    if model.thinking == "never" or budget == 0 or (model.thinking == "optional" and not asked):
        return 0
    drawn = round(drawn * _LEVELS.get((thinking.thinking_level or "MEDIUM").upper(), 1.0))
    return min(drawn, budget) if budget is not None and budget > 0 else drawn


def _marked(prompt: str) -> str | None:
    if "[[blocked]]" in prompt:
        return "PROHIBITED_CONTENT"
    if "[[safety]]" in prompt:
        return "SAFETY"
    if "[[recitation]]" in prompt:
        return "RECITATION"
    return "STOP" if "[[empty]]" in prompt else None


def _modality(media: Media) -> str:
    family = media.mime_type.partition("/")[0]
    return family.upper() if family in ("image", "audio", "video") else "DOCUMENT"
