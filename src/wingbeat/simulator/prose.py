"""Plausible English about nothing much: paragraphs that depend only on the prompt's words and a seed."""

import re

from wingbeat.simulator.dice import Dice

_WORD = re.compile(r"[^\W\d_]{4,24}")
_HEAD_CHARACTERS = 600
"""How much of a prompt is searched for its topic; long documents would cost more than the answer."""

_COMMON_WORDS = """
about above according after again against along also although always among another answer answers anything
around because been before being below best better between both brief briefly called cannot come complete could
describe detail detailed does doing done down each either else english every example examples exactly explain
explanation fact facts first following from give given gives good great have having help here however include
input instead into item itself just keep kind know language least less like line lines list long look made make
many maybe mean means might more most much must name need never next none note number numbers only other
otherwise over paragraph part people perhaps please point prompt provide question questions rather really reason
reply respond response sentence sentences several shall short should show simple since some someone something
still such summarise summarize summary sure take tell text than that their them then there these they thing
things think this those three through thus time together under unless until upon used user using very want ways
well were what when where whether which while whole whose will with within without word words would write
written year years your yourself system model record
"""
_COMMON = frozenset(_COMMON_WORDS.split())

_OPENINGS = """
In practice, |In most settings, |Broadly speaking, |On closer inspection, |As a rule, |Over time, |For most readers,
|Seen from a distance, |In everyday terms, |At first sight, |By most accounts, |In the long run, |Taken together, |In
many cases, |Historically, |At its core, |More often than not, |Looked at plainly, |For this reason, |In other words,
|Even so, |In the end, |Surprisingly often, |Under ordinary conditions, |By contrast, |On balance, |||||||||||
"""
_SUBJECTS = """
the usual account of {}|most careful writing on {}|a good part of {}|the practical side of {}|the early history of
{}|any serious study of {}|the present view of {}|what people ask about {}|the simplest picture of {}|the long debate
around {}|everyday experience with {}|the best evidence on {}|a working knowledge of {}|the vocabulary of {}|the link
between {} and {}|the difference between {} and {}|progress on {}|the cost of {}|the quality of {}|the first question
about {}|interest in {}|the place of {} beside {}|the way {} relates to {}|a sound decision about {}|the public side
of {}|the harder half of {}|success with {}|the craft behind {}|the story of {}|a fair comparison of {} and {}
"""
_VERBS = """
depends on|rests on|begins with|comes down to|grows out of|is shaped by|is best explained by|turns on|is limited
by|has much to do with|can be traced back to|is usually measured against|makes little sense without|is held together
by|owes a great deal to|is sensitive to|says a good deal about|is usually weighed against|cannot be separated
from|starts and ends with|is quietly driven by|draws heavily on|is hard to tell apart from|has always leaned on|is in
large part a matter of|is governed by|takes its form from|is inseparable from
"""
_OBJECTS = """
a few simple measurements|patient observation|the way the work is organised|clear and early planning|small changes in
the conditions|the habits of the people involved|the materials at hand|long experience in the field|a balance between
speed and care|the season and the weather|steady funding and modest goals|the quality of the records|local knowledge
and custom|what came before it|the order in which things happen|careful repetition|a shared set of definitions|the
tools that are available|open discussion of mistakes|a handful of well-known cases|the scale at which it is
studied|ordinary trial and error|good teaching|the limits of what can be observed|a sense of proportion|the cost of
getting it wrong|simple rules applied with patience|the attention of a few experts|trade between neighbouring
regions|the first results of a pilot study|reliable figures from several sources|the shape of the landscape|a
willingness to revise old ideas|the needs of those who use it|the pace of change elsewhere|well-chosen examples|the
trust that people place in it|regular maintenance|a plain description of the problem|agreement on a common scale
"""
_TAILS = """
|||||||||||, although exceptions are common|, and the effect grows with scale|, which is why opinions differ|, at least
in the cases studied so far|, even where money is short|, as later work has confirmed|, and rarely the other way round|,
though the details vary from place to place|, so early choices matter|, and this has changed little in recent years|,
which takes longer to learn than to describe|, as anyone who has tried it will know|, and the rest tends to follow|,
with only minor differences between countries|, and a second look usually pays off
"""


def _alternatives(block: str) -> tuple[str, ...]:
    # The blocks above are wrapped for reading; a line break stands for a space, except at their ends.
    return tuple(block.strip("\n").replace("\n", " ").split("|"))


_TABLES = tuple(map(_alternatives, (_OPENINGS, _SUBJECTS, _VERBS, _OBJECTS, _TAILS)))


def compose(prompt: str, dice: Dice) -> str:
    """Return two to five sentences about the topic of the prompt, some 30 to 150 tokens."""
    topics = find_topics(prompt)
    return " ".join([sentence(topics, dice) for _ in range(2 + dice.below(4))])


def sentence(topics: tuple[str, str], dice: Dice) -> str:
    """Return one sentence; some 35 million are possible for each pair of topics."""
    below = dice.below
    openings, subjects, verbs, objects, tails = _TABLES
    subject = subjects[below(len(subjects))].format(*(topics if below(2) else topics[::-1]))
    text = (
        f"{openings[below(len(openings))]}{subject} {verbs[below(len(verbs))]} "
        f"{objects[below(len(objects))]}{tails[below(len(tails))]}."
    )
    return text[0].upper() + text[1:]


def find_topics(prompt: str) -> tuple[str, str]:
    """Return the two longest uncommon words at the start of the prompt, or words to stand in for them."""
    words = {word for word in _WORD.findall(prompt[:_HEAD_CHARACTERS]) if word.lower() not in _COMMON}
    found = sorted(words, key=lambda word: (-len(word), word))[:2]
    if len(found) == 2:
        return found[0], found[1]
    return (found[0], "its neighbours") if found else ("the subject", "its context")
