import asyncio
import subprocess
import sys

import pytest

import wingbeat

from .conftest import MODEL


def test_a_script_needs_no_event_loop():
    """`wingbeat.run` answers a list in order."""
    outcomes = wingbeat.run([f"Question {number}?" for number in range(5)], model=MODEL, simulator="latency=0")
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert all(outcome.text for outcome in outcomes)


async def test_inside_a_loop_the_right_call_is_named():
    """Inside an event loop, as in a notebook, the error's own text names the call that works there."""
    with pytest.raises(wingbeat.EventLoopRunning, match=r"await client\.gather\(prompts\)"):
        wingbeat.run(["Why?"], model=MODEL)


def test_the_call_that_is_named_works_in_a_notebook():
    """A notebook runs cells as coroutines of one loop: a client opened in one cell answers in the next."""
    loop = asyncio.new_event_loop()
    try:
        client = wingbeat.Client(MODEL, simulator="latency=0")
        loop.run_until_complete(client.__aenter__())
        first = loop.run_until_complete(client.gather(["Why?", "Who?"]))
        second = loop.run_until_complete(client.generate("When?"))
        loop.run_until_complete(client.__aexit__(None, None, None))
    finally:
        loop.close()
    assert len(first) == 2
    assert second.text


def test_run_from_a_thread_beside_a_loop():
    """A blocking call in a thread of its own works while a loop runs elsewhere."""

    async def main() -> list[wingbeat.Outcome]:
        return await asyncio.to_thread(wingbeat.run, ["Why?"], model=MODEL, simulator="latency=0")

    assert asyncio.run(main())[0].text


def test_every_public_name_is_there_and_documented():
    """`__all__` is sorted and complete, and each name of it can be had and says what it is."""
    assert list(wingbeat.__all__) == sorted(wingbeat.__all__)
    assert dir(wingbeat) == list(wingbeat.__all__)
    for name in wingbeat.__all__:
        thing = getattr(wingbeat, name)
        if name not in ("__version__", "Prompt"):
            assert thing.__doc__, name
            assert not thing.__doc__.startswith(f"{name}("), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = wingbeat.nothing


def test_public_classes_document_their_public_parts():
    """Methods and properties of public classes have a docstring of their own."""
    for name in ("Client", "Limits", "Statistics", "Mapped", "Outcome", "Usage", "ErrorDetail"):
        for part, value in vars(getattr(wingbeat, name)).items():
            if not part.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{name}.{part}"


def test_every_error_is_public_and_has_an_exit_code():
    """All errors that wingbeat raises are in its face."""
    from wingbeat import errors

    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert found <= set(wingbeat.__all__)
    assert all(getattr(errors, name).exit_code in (1, 2, 3) for name in found)


@pytest.mark.slow
def test_importing_wingbeat_is_cheap():
    """`import wingbeat` loads none of the heavy packages, nor asyncio."""
    program = "import sys, wingbeat; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"pyarrow", "jinja2", "rich", "genai_prices", "pydantic", "asyncio", "msgspec", "pyreqwest", "click"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["from wingbeat import Client, map", "from wingbeat.cli import main"])
def test_importing_its_parts_is_lean(what: str):
    """Client and command load neither tables, templates, panels nor prices until they are used."""
    program = f"import sys; {what}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "jinja2", "rich", "genai_prices", "pydantic"} & set(done.stdout.split())
