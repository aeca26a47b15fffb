"""What clients' messages take from responses, as kinds of links with their evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from replayer.carried import places_of
from replayer.chain import Evidence, Rule
from replayer.spoken import Spoken


class MessageChains(NamedTuple):
    """
    The links of messages by their kind; ``messages`` carry anything that the responses to ``parents`` minted.

    ``asked`` counts, by the endpoint of a session and a place of messages, how many have such a place.
    """

    rules: dict[Rule, Evidence]
    asked: Counter[tuple[str, str]]
    messages: int
    parents: frozenset[int]


def message_chains(spoken: Spoken, endpoint_of: Callable[[int], str]) -> MessageChains:
    """The links of ``spoken``; ``endpoint_of`` gives the endpoint of an exchange by its seq."""
    rules: dict[Rule, Evidence] = {}
    asked: Counter[tuple[str, str]] = Counter()
    parents: set[int] = set()
    linked = 0
    carried = spoken.carried()
    for seq, messages in carried.items():
        endpoint = endpoint_of(seq)
        for said, found in zip(spoken.said[seq], messages, strict=True):
            asked.update((endpoint, place) for place in places_of(said.payload))
            linked += bool(found)
            for one in found:
                rule = Rule(endpoint_of(one.parent), one.place, endpoint, one.spot)
                evidence = rules.setdefault(rule, Evidence())
                evidence.linked += 1
                evidence.values.add(hash(one.word))
                evidence.think_ns.append(one.think_ns)
                parents.add(one.parent)
    return MessageChains(rules, asked, linked, frozenset(parents))
