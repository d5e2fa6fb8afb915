"""A JSON value that satisfies a simple schema: JSON Schema, or the OpenAPI subset with upper-case types."""

from math import ceil
from typing import Any

from wingbeat.simulator.dice import Dice
from wingbeat.simulator.prose import find_topics, sentence

_MAX_DEPTH = 12
_MAX_COUNT = 1000
_MAX_NUMBER = 2**50
_FORMATS = {
    "date-time": "2026-01-15T09:30:00Z",
    "date": "2026-01-15",
    "time": "09:30:00",
    "email": "reader@example.org",
    "uri": "https://example.org/",
    "uuid": "6f1c2a9e-4b7d-4c3a-9e55-0d8f7b2a1c34",
}


def make_instance(schema: Any, prompt: str, dice: Dice) -> Any:
    """
    Return a value of the schema's type, the same for the same prompt and dice.

    Understands type, enum, const, properties, required, items, minItems, bounds, lengths, anyOf/oneOf/allOf and local
    references. Other keywords, such as `pattern`, are not honoured.
    """
    return _Maker(schema, find_topics(prompt), dice).make(schema, 0)


class _Maker:
    def __init__(self, root: Any, topics: tuple[str, str], dice: Dice) -> None:
        self._root = root
        self._topics = topics
        self._dice = dice

    def make(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return None
        if "$ref" in schema:
            return self.make(self._resolve(str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[self._dice.below(len(choices))]
        for keyword in ("anyOf", "oneOf"):
            if isinstance(options := schema.get(keyword), list) and options:
                return self.make(options[0], depth + 1)
        if isinstance(several := schema.get("allOf"), list) and several:
            merged: dict[str, Any] = {}
            properties: dict[str, Any] = {}
            for piece in several:
                if isinstance(piece, dict):
                    merged |= piece
                    if isinstance(own := piece.get("properties"), dict):
                        properties |= own
            if properties:
                merged["properties"] = properties
            return self.make(merged, depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match str(kind).lower():
            case "object":
                return self._object(schema, depth)
            case "array":
                least = _count(schema.get("minItems"), 0)
                most = _count(schema.get("maxItems"), max(least, 3))
                count = max(least, min(most, 1 + self._dice.below(3)))
                return [self.make(schema.get("items", {"type": "string"}), depth + 1) for _ in range(count)]
            case "integer":
                return ceil(self._number(schema, 1))
            case "number":
                return round(self._number(schema, 0.1), 2)
            case "boolean":
                return bool(self._dice.below(2))
            case "null":
                return None
            case _:
                return self._string(schema)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        if depth >= _MAX_DEPTH // 2:
            # A schema that refers to itself must end somewhere.
            wanted = schema.get("required")
            names = wanted if isinstance(wanted, list) else []
            properties = {name: piece for name, piece in properties.items() if name in names}
        return {name: self.make(piece, depth + 1) for name, piece in properties.items()}

    def _number(self, schema: dict[str, Any], step: float) -> float:
        low = _number(schema.get("minimum", schema.get("exclusiveMinimum")))
        high = _number(schema.get("maximum", schema.get("exclusiveMaximum")))
        if low is None:
            low = 0.0 if high is None else high - 100
        if high is None:
            high = low + 100
        if "exclusiveMinimum" in schema:
            low += step
        if "exclusiveMaximum" in schema:
            high -= step
        steps = max(0, int((high - low) / step))
        return low + step * self._dice.below(steps + 1)

    def _string(self, schema: dict[str, Any]) -> str:
        fixed = _FORMATS.get(str(schema.get("format")))
        if fixed is not None:
            return fixed
        text = sentence(self._topics, self._dice)
        text = text[: _count(schema.get("maxLength"), len(text))]
        return text.ljust(_count(schema.get("minLength"), 0), ".")

    def _resolve(self, reference: str) -> Any:
        found = self._root
        for step in reference.removeprefix("#").split("/"):
            if step:
                found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found


def _count(value: Any, default: int) -> int:
    """Return a length or number of items from a schema, or `default` when it is none; never a dangerous size."""
    number = _number(value)
    return default if number is None else int(min(max(number, 0), _MAX_COUNT))


def _number(value: Any) -> float | None:
    """Return a finite number from a schema, kept to a range in which arithmetic is exact; else None."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return None
    return float(min(max(value, -_MAX_NUMBER), _MAX_NUMBER))
