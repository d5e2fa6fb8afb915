import gc
import subprocess
import sys

import pytest

from wingbeat.sources.duplicates import IN_MEMORY, DuplicateFinder


def test_an_equal_identifier_is_told_at_once():
    """Among few identifiers, an equal one is told with its first position."""
    finder = DuplicateFinder()
    assert [finder.add(name, position) for position, name in enumerate(["a", "b", "", "a"])] == [None, None, None, 0]


def test_numbers_and_texts_differ():
    """The number 1 and the text "1" are two identifiers."""
    finder = DuplicateFinder()
    assert (finder.add(1, 0), finder.add("1", 1), finder.add(1, 2)) == (None, None, 0)
    assert finder.find() == []


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(3, IN_MEMORY + 2000), (IN_MEMORY + 10, IN_MEMORY + 900), (5, IN_MEMORY), None])
def test_many_identifiers(pair):
    """Above what is kept in memory an equal pair is found at the end, wherever its two stand."""
    finder = DuplicateFinder()
    for position in range(IN_MEMORY + 3000):
        name = pair[0] if pair and position == pair[1] else position
        assert finder.add(name, position) in (None, 5)
    told = [pair] if pair else []
    assert finder.find() in ((told, []) if pair == (5, IN_MEMORY) else (told,))


@pytest.mark.slow
def test_a_scan_that_breaks_off_leaves_no_files():
    """A finder that is dropped without being asked closes its files without a warning."""
    finder = DuplicateFinder()
    for position in range(IN_MEMORY + 10):
        finder.add(position, position)
    del finder
    gc.collect()


MEASURING = """
import resource
from wingbeat.sources.duplicates import DuplicateFinder
finder = DuplicateFinder()
for position in range(60_000):
    finder.add(position, position)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for position in range(60_000, 400_000):
    finder.add(position, position)
assert finder.find() == []
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat():
    """Hundreds of thousands of identifiers take no more memory than the first fifty thousand."""
    told = subprocess.run([sys.executable, "-c", MEASURING], capture_output=True, timeout=60, check=True)
    assert float(told.stdout) < 8
