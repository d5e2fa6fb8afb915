import pytest

from wingbeat.simulator import Simulator, SimulatorConfig

genai = pytest.importorskip("google.genai")
from google.genai import errors, types  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp.*"),
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]
MODEL = "gemini-2.5-flash"


def client(simulator: Simulator, key: str = "test-key") -> "genai.Client":
    """Return the official client, pointed at the simulator."""
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=simulator.url))


async def test_official_client_reads_an_answer():
    """The official client reads text, finish reason, usage and model from a unary answer."""
    async with Simulator(SimulatorConfig.parse("latency=0")) as simulator, client(simulator).aio as models:
        answer = await models.models.generate_content(
            model=MODEL,
            contents="Why is the sky blue?",
            config=types.GenerateContentConfig(temperature=0.3, system_instruction="Be brief."),
        )
    assert answer.text.endswith(".")
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert answer.usage_metadata.prompt_token_count == 8
    assert answer.model_version == MODEL


async def test_official_client_reads_json():
    """The official client parses an answer to a schema into its model."""
    async with Simulator(SimulatorConfig.parse("latency=0")) as simulator, client(simulator).aio as models:
        answer = await models.models.generate_content(
            model=MODEL,
            contents="Name a river.",
            config=types.GenerateContentConfig(
                response_mime_type="application/json",
                response_schema={"type": "OBJECT", "properties": {"river": {"type": "STRING"}}, "required": ["river"]},
            ),
        )
    assert set(answer.parsed) == {"river"}


async def test_official_client_reads_a_stream():
    """The official client reads the parts of a stream, the last with the finish reason."""
    async with Simulator(SimulatorConfig.parse("latency=0")) as simulator, client(simulator).aio as models:
        stream = await models.models.generate_content_stream(model=MODEL, contents="Why is the sky blue?")
        parts = [part async for part in stream]
        whole = await models.models.generate_content(model=MODEL, contents="Why is the sky blue?")
    assert "".join(part.text for part in parts) == whole.text
    assert parts[-1].candidates[0].finish_reason is types.FinishReason.STOP


async def test_official_client_counts_and_lists():
    """The official client counts tokens, and pages through the models."""
    async with Simulator(SimulatorConfig.parse("latency=0")) as simulator, client(simulator).aio as models:
        counted = await models.models.count_tokens(model=MODEL, contents="12345678")
        listed = [model.name async for model in await models.models.list(config={"page_size": 4})]
        one = await models.models.get(model=MODEL)
    assert counted.total_tokens == 2
    assert len(listed) == len(set(listed)) >= 11
    assert one.input_token_limit == 1_048_576


async def test_official_client_reads_a_quota_error():
    """A 429 becomes the client's ClientError, with code, status and details."""
    async with Simulator(SimulatorConfig.parse("latency=0,rpm=0")) as simulator, client(simulator).aio as models:
        with pytest.raises(errors.ClientError) as caught:
            await models.models.generate_content(model=MODEL, contents="Why?")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    kinds = [detail["@type"].rpartition(".")[2] for detail in caught.value.details["error"]["details"]]
    assert kinds == ["Help", "QuotaFailure", "RetryInfo"]


async def test_official_client_reads_an_error_inside_a_stream():
    """An error event after 200 becomes the client's ServerError."""
    config = SimulatorConfig.parse("latency=0,fault.stream_error=1")
    async with Simulator(config) as simulator, client(simulator).aio as models:
        stream = await models.models.generate_content_stream(model=MODEL, contents="Why is the sky blue?")
        with pytest.raises(errors.APIError) as caught:
            _ = [part async for part in stream]
    assert caught.value.code == 503


@pytest.mark.parametrize(
    ("key", "model", "code", "status"),
    [("invalid", MODEL, 400, "INVALID_ARGUMENT"), ("good", "gemini-imaginary", 404, "NOT_FOUND")],
)
async def test_official_client_reads_permanent_errors(key: str, model: str, code: int, status: str):
    """A bad key and an unknown model become ClientErrors with their codes."""
    async with Simulator(SimulatorConfig.parse("latency=0")) as simulator, client(simulator, key).aio as models:
        with pytest.raises(errors.ClientError) as caught:
            await models.models.generate_content(model=model, contents="Why?")
    assert (caught.value.code, caught.value.status) == (code, status)
