import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.simulator import SimulatorApp, SimulatorConfig

from .ask import KEY, ask, body, message, new_app, read


def config(**values):
    """Return a request with this generationConfig."""
    return body(generationConfig=values)


BAD_REQUESTS = [
    (b"{", "Invalid JSON payload received."),
    (b"", "Invalid JSON payload received."),
    (b"\xff\xfe", "Invalid"),
    (b"[" * 100_000, "Invalid JSON payload received."),
    (b"[]", "Invalid value at ''"),
    ({}, "* GenerateContentRequest.contents: contents is not specified"),
    ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified"),
    ({"contents": [{"role": "user", "parts": []}]}, "contents[0].parts: contents.parts must not be empty"),
    ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, "Please use a valid role: user, model."),
    (body(foo=1), 'Unknown name "foo": Cannot find field.'),
    (config(foo=1), "Unknown name \"foo\" at 'generation_config': Cannot find field."),
    ({"contents": [{"parts": [{"txt": "a"}]}]}, "Unknown name \"txt\" at 'contents[0].parts[0]': Cannot find field."),
    (config(temperature="warm"), "Invalid value at 'generation_config.temperature'"),
    (config(temperature=2.1), "temperature must be in the range [0.0, 2.0]"),
    (config(temperature=-0.1), "temperature must be in the range [0.0, 2.0]"),
    (config(topP=1.5), "top_p must be in the range"),
    (config(maxOutputTokens=0), "max_output_tokens must be positive"),
    (config(candidateCount=9), "candidate_count"),
    (config(candidateCount=10**12), "candidate_count"),
    (config(stopSequences=list("abcdef")), "stop_sequences"),
    (config(responseSchema={"type": "STRING"}, responseJsonSchema={"type": "string"}), "response_schema"),
]


@pytest.mark.parametrize(("payload", "text"), BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
def test_bad_requests_are_told_what_is_wrong(payload, text: str):
    """A request that Google refuses gets a 400 that names the fault."""
    reply = ask(new_app(), payload)
    assert reply.status == 400
    assert read(reply)["error"]["status"] == "INVALID_ARGUMENT"
    assert text in message(reply)


def test_unknown_fields_are_listed():
    """An unknown field is also given as a field violation."""
    (detail,) = read(ask(new_app(), config(foo=1)))["error"]["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert detail["fieldViolations"][0]["field"] == "generation_config"


def test_snake_case_is_read_as_camel_case():
    """Both spellings of a field mean the same."""
    camel = body(generationConfig={"maxOutputTokens": 9, "thinkingConfig": {"thinkingBudget": 0}})
    snake = body(generation_config={"max_output_tokens": 9, "thinking_config": {"thinking_budget": 0}})
    app = new_app()
    assert ask(app, camel).body == ask(app, snake).body


def test_numbers_in_quotes_are_read():
    """Proto3 JSON takes a number in quotes."""
    assert ask(new_app(), config(maxOutputTokens="9", temperature="0.5")).status == 200


def test_null_means_not_set():
    """Proto3 JSON takes null for a field that is not set."""
    payload = body(generationConfig=None, systemInstruction=None, tools=None)
    assert ask(new_app(), payload).body == ask(new_app()).body


def test_a_prompt_above_the_input_limit_is_refused():
    """The text of the refusal has the count and the limit."""
    reply = ask(new_app(), body("word " * 1_000_000))
    assert message(reply) == ("The input token count (1250000) exceeds the maximum number of tokens allowed (1048576).")


def test_keys_are_checked_first():
    """No key is a 403, a key called invalid a 400, one called blocked a 403; `?key=` is as good as the header."""
    app = new_app()
    missing = ask(app, b"not json", headers={})
    assert (missing.status, "unregistered callers" in message(missing)) == (403, True)
    invalid = read(ask(app, headers={"x-goog-api-key": "invalid-1"}))["error"]
    assert (invalid["code"], invalid["details"][0]["reason"]) == (400, "API_KEY_INVALID")
    blocked = read(ask(app, headers={"x-goog-api-key": "blocked"}))["error"]
    assert (blocked["code"], blocked["details"][0]["reason"]) == (403, "API_KEY_SERVICE_BLOCKED")
    assert ask(app, headers={}, query="?key=abc").status == 200


def test_unknown_model_has_the_recorded_body():
    """The 404 names model, version and method."""
    assert read(ask(new_app(), model="gemini-imaginary")) == {
        "error": {
            "code": 404,
            "message": "models/gemini-imaginary is not found for API version v1beta, or is not supported for "
            "generateContent. Call ListModels to see the list of available models and their supported methods.",
            "status": "NOT_FOUND",
        }
    }


def test_aliases_live_on_v1beta_only():
    """v1beta resolves a `-latest` alias and says which model answered; v1 does not know it."""
    app = new_app()
    assert read(ask(app, model="gemini-flash-latest"))["modelVersion"] == "gemini-3.8-flash"
    assert ask(app, model="gemini-flash-latest", version="v1").status == 404


def test_embedding_model_does_not_generate():
    """A model that is listed but has other methods answers 404."""
    assert ask(new_app(), model="gemini-embedding-001").status == 404


def test_answer_has_the_recorded_shape():
    """A unary answer has the keys and their order as recorded, and a usage that adds up."""
    answer = read(ask(new_app(), body("Why is the sky blue?"), model="gemini-3.5-flash"))
    assert list(answer) == ["candidates", "usageMetadata", "modelVersion", "responseId"]
    (candidate,) = answer["candidates"]
    assert list(candidate) == ["content", "finishReason", "index"]
    assert candidate["content"]["role"] == "model"
    assert set(candidate["content"]["parts"][0]) == {"text", "thoughtSignature"}
    usage = answer["usageMetadata"]
    assert usage["promptTokenCount"] == 5
    assert usage["promptTokensDetails"] == [{"modality": "TEXT", "tokenCount": 5}]
    assert usage["serviceTier"] == "standard"
    counted = [usage[f"{part}TokenCount"] for part in ("prompt", "candidates", "thoughts")]
    assert usage["totalTokenCount"] == sum(counted)
    assert answer["responseId"].startswith("sim-")


def test_reply_headers_are_the_recorded_ones():
    """An answer carries the front end's headers, with the time spent in ms, and nothing about limits."""
    headers = dict(ask(new_app("latency=0.25")).headers)
    assert headers["content-type"] == "application/json; charset=UTF-8"
    assert headers["server"] == "scaffolding on HTTPServer2"
    assert headers["server-timing"] == "gfet4t7; dur=250"
    assert headers["x-gemini-service-tier"] == "standard"
    assert not any("ratelimit" in name or name == "retry-after" for name in headers)


def test_thinking_budget_zero_means_no_thoughts():
    """With a budget of 0 no thought tokens are reported, and a model that always thinks refuses."""
    payload = config(thinkingConfig={"thinkingBudget": 0})
    assert "thoughtsTokenCount" not in read(ask(new_app(), payload))["usageMetadata"]
    assert "only works in thinking mode" in message(ask(new_app(), payload, model="gemini-2.5-pro"))


def test_thoughts_may_be_shown():
    """With includeThoughts the first part is a thought."""
    (candidate,) = read(ask(new_app(), config(thinkingConfig={"includeThoughts": True})))["candidates"]
    assert [part.get("thought", False) for part in candidate["content"]["parts"]] == [True, False]


def test_thoughts_may_eat_the_whole_output():
    """If thoughts use all output tokens, the content has no parts and the reason is MAX_TOKENS."""
    answer = read(ask(new_app(), config(maxOutputTokens=10)))
    assert answer["candidates"] == [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}]
    assert answer["usageMetadata"]["thoughtsTokenCount"] == 10
    assert "candidatesTokenCount" not in answer["usageMetadata"]


def test_output_is_cut_at_the_limit():
    """maxOutputTokens cuts the text and gives MAX_TOKENS."""
    payload = config(maxOutputTokens=10, thinkingConfig={"thinkingBudget": 0})
    answer = read(ask(new_app(), payload))
    assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert answer["usageMetadata"]["candidatesTokenCount"] == 10


def test_stop_sequences_end_the_text():
    """The text ends before the first stop sequence."""
    text = read(ask(new_app(), config(stopSequences=["."])))["candidates"][0]["content"]["parts"][0]["text"]
    assert "." not in text


def test_candidates_differ():
    """candidateCount gives that many different texts, numbered, and a usage that counts all."""
    answer = read(ask(new_app(), config(candidateCount=3)))
    assert [candidate["index"] for candidate in answer["candidates"]] == [0, 1, 2]
    texts = [candidate["content"]["parts"][0]["text"] for candidate in answer["candidates"]]
    assert len(set(texts)) == 3
    assert answer["usageMetadata"]["candidatesTokenCount"] == sum(-(-len(text.encode()) // 4) for text in texts)


MARKS = {
    "[[safety]]": ("SAFETY", {}),
    "[[recitation]]": ("RECITATION", {"role": "model"}),
    "[[empty]]": ("STOP", {"role": "model"}),
}


@pytest.mark.parametrize("mark", MARKS)
def test_marks_ask_for_special_candidates(mark: str):
    """A mark in the prompt gives a candidate without text and with that reason."""
    (candidate,) = read(ask(new_app(), body(f"Tell me {mark}")))["candidates"]
    assert (candidate["finishReason"], candidate["content"]) == MARKS[mark]
    assert ("safetyRatings" in candidate) == (mark == "[[safety]]")


def test_a_blocked_prompt_has_no_candidates():
    """A blocked prompt has its reason in promptFeedback and no candidates at all."""
    answer = read(ask(new_app(), body("[[blocked]]")))
    assert "candidates" not in answer
    assert answer["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}


def test_json_is_answered_in_json():
    """A JSON mime type is answered with an object; a schema with an instance of it."""
    schema = {
        "type": "object",
        "properties": {"river": {"type": "string"}, "rank": {"type": "integer", "minimum": 3, "maximum": 5}},
        "required": ["river", "rank"],
    }

    def text(**values):
        return read(ask(new_app(), config(**values)))["candidates"][0]["content"]["parts"][0]["text"]

    assert list(json.loads(text(responseMimeType="application/json"))) == ["answer"]
    made = json.loads(text(responseMimeType="application/json", responseJsonSchema=schema))
    assert isinstance(made["river"], str)
    assert 3 <= made["rank"] <= 5


def test_system_instruction_counts_and_matters():
    """The system instruction adds input tokens and changes the answer."""
    plain = read(ask(new_app()))
    told = read(ask(new_app(), body(systemInstruction={"parts": [{"text": "Be brief. Twice."}]})))
    assert told["usageMetadata"]["promptTokenCount"] == plain["usageMetadata"]["promptTokenCount"] + 4
    assert told["candidates"] != plain["candidates"]


def test_pictures_count_by_modality():
    """An inline picture adds its tokens under its own modality."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    payload = {"contents": [{"role": "user", "parts": [{"text": "What?"}, picture]}]}
    details = read(ask(new_app(), payload))["usageMetadata"]["promptTokensDetails"]
    assert details == [{"modality": "TEXT", "tokenCount": 2}, {"modality": "IMAGE", "tokenCount": 258}]


def test_server_timeout_turns_into_504():
    """An answer slower than X-Server-Timeout becomes a 504 at that time."""
    reply = ask(new_app("latency=30"), headers={**KEY, "x-server-timeout": "10"})
    assert (reply.status, reply.duration_s) == (504, 10.0)
    assert read(reply)["error"]["status"] == "DEADLINE_EXCEEDED"


def test_stream_parts_join_to_the_unary_text():
    """The parts of a stream make up the unary text; usage is cumulative and only the last part has a reason."""
    app = new_app()
    reply = ask(app, method="streamGenerateContent", query="?alt=sse")
    assert dict(reply.headers)["content-type"] == "text/event-stream"
    raw = reply.body.decode()
    assert raw.endswith("\r\n\r\n")
    assert "[DONE]" not in raw
    events = [json.loads(event.removeprefix("data: ")) for event in raw.split("\r\n\r\n") if event]
    unary = read(ask(app))
    text = "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events)
    assert text == unary["candidates"][0]["content"]["parts"][0]["text"]
    assert ["finishReason" in event["candidates"][0] for event in events] == [False] * (len(events) - 1) + [True]
    counts = [event["usageMetadata"]["candidatesTokenCount"] for event in events]
    assert counts == sorted(counts)
    assert events[-1]["usageMetadata"] == unary["usageMetadata"]
    assert len({event["responseId"] for event in events}) == 1


def test_stream_without_sse_is_one_array():
    """Without alt=sse a stream is one JSON array of the same parts."""
    parts = read(ask(new_app(), method="streamGenerateContent"))
    assert parts[-1]["candidates"][0]["finishReason"] == "STOP"


def test_stream_starts_at_the_first_token():
    """A stream's parts take as long as the whole answer, and start sooner."""
    app = new_app("latency=model")
    stream = ask(app, method="streamGenerateContent", query="?alt=sse")
    assert 0 < stream.parts[0][0] < stream.duration_s
    assert stream.duration_s == pytest.approx(ask(app).duration_s)


def test_counting_agrees_with_the_answer():
    """countTokens gives the promptTokenCount of the same request, in either form of its body."""
    app = new_app()
    request = body("Count these words, please.", systemInstruction={"parts": [{"text": "Be brief."}]})
    counted = read(ask(app, {"generateContentRequest": request}, method="countTokens"))
    assert counted["totalTokens"] == read(ask(app, request))["usageMetadata"]["promptTokenCount"]
    assert read(ask(app, body("abcdefgh"), method="countTokens"))["totalTokens"] == 2


def test_models_are_listed_in_pages():
    """Following the page tokens lists every model once; v1 has no aliases."""
    app, names, token = new_app(), [], ""
    while True:
        page = read(app.respond("GET", f"/v1beta/models?pageSize=5&pageToken={token}", KEY, b"", 1.0))
        names += [model["name"] for model in page["models"]]
        if not (token := page.get("nextPageToken", "")):
            break
    assert len(names) == len(set(names)) == 14
    assert "models/gemini-flash-latest" in names
    assert app.respond("GET", "/v1beta/models?pageToken=LTU=", KEY, b"", 1.0).status == 400
    on_v1 = read(app.respond("GET", "/v1/models", KEY, b"", 1.0))["models"]
    assert len(on_v1) == 11
    assert read(app.respond("GET", "/v1/models/gemini-2.5-flash", KEY, b"", 1.0)) in on_v1


def test_other_paths_get_a_page_of_html():
    """A path outside the API is answered with 404 and HTML, as by Google's front end."""
    reply = new_app().respond("POST", "/openai/v1/chat/completions", KEY, b"{}", 1.0)
    assert (reply.status, reply.headers[0][1]) == (404, "text/html; charset=UTF-8")


def test_statistics_and_reset_over_http():
    """`/-/statistics` counts answers by prompt if asked to, and `/-/reset` starts afresh, quota included."""
    app = new_app("rpm=2,count_prompts=true")
    for _ in range(3):
        ask(app, body("one"))
    counted = read(app.respond("GET", "/-/statistics", {}, b"", 1.0))
    assert (counted["requests"], counted["answered"], counted["refused"]) == (3, 2, 1)
    assert counted["answers_by_prompt"] == {"one": 2}
    app.respond("POST", "/-/reset", {}, b"", 1.0)
    assert ask(app).status == 200
    assert app.statistics().requests == 1


def test_log_masks_keys():
    """The log has a line for each request, with no more than four characters of its key."""
    lines: list[str] = []
    app = SimulatorApp(SimulatorConfig.parse("latency=0,rpm=1"), 0.0, lines.append)
    for key in ("AIzaSyExample-0123", "AIzaSyExample-0123", "short"):
        ask(app, headers={"x-goog-api-key": key}, now=1.5)
    assert lines[0].startswith("1.500 AIza… generateContent gemini-2.5-flash in=5 ")
    assert "429 (requests a minute)" in lines[1]
    assert not any("Sy" in line or "short" in line for line in lines)


@given(raw=st.binary(max_size=200), target=st.text(max_size=60), method=st.sampled_from(["GET", "POST", "PUT"]))
def test_no_bytes_make_it_raise(raw: bytes, target: str, method: str):
    """Whatever is sent, there is a reply."""
    app = new_app()
    assert app.respond(method, target, KEY, raw, 1.0).status in (200, 400, 404)
    assert app.respond(method, f"/v1/models/{target}", KEY, raw, 1.0).status in (200, 400, 404)
    assert ask(app, raw).status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


KEYWORDS = [
    "type",
    "enum",
    "items",
    "properties",
    "anyOf",
    "allOf",
    "$ref",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "required",
    "format",
]


@pytest.mark.slow
@given(
    kind=st.sampled_from(["object", "array", "string", "integer", "number"]),
    schema=st.dictionaries(st.sampled_from(KEYWORDS), json_values, max_size=3),
)
def test_no_schema_makes_it_raise(kind: str, schema):
    """Whatever schema is sent, there is a reply."""
    payload = config(responseJsonSchema={"type": "object", "properties": {"a": {"type": kind, **schema}}})
    assert ask(new_app(), payload).status in (200, 400)


def test_a_schema_cannot_ask_for_a_dangerous_size():
    """A huge minItems or minLength is cut."""
    for schema in ({"type": "array", "minItems": 10**9}, {"type": "string", "minLength": 10**9}):
        assert len(ask(new_app(), config(responseJsonSchema=schema)).body) < 500_000
