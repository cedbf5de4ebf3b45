"""Answers are kept as those of a table in the order in which they were asked for last would be."""

from __future__ import annotations

from random import Random

from leo_runtime.runtime.kept_answers import KeptAnswer, KeptAnswers

MOST = 4


def test_what_was_asked_for_longest_ago_is_forgotten() -> None:
    """Also where who has an answer asks for it again without looking for it."""
    rng = Random(1)
    kept: KeptAnswers[int, str] = KeptAnswers()
    table: dict[int, str] = {}  # In the order in which they were asked for last.
    had: dict[int, KeptAnswer[str]] = {}
    for turn in range(2_000):
        question = rng.randrange(8)
        one = had.get(question)
        if one is not None and one.is_kept:
            one.ask()
        else:
            one = kept.get(question)
        if one is None:
            assert question not in table
            if len(table) >= MOST:
                del table[next(iter(table))]
            kept.keep(question, f"{question} in turn {turn}", MOST)
            table[question] = f"{question} in turn {turn}"
        else:
            assert one.answer == table[question]
            table[question] = table.pop(question)
            if rng.randrange(2):
                had[question] = one
        assert len(kept) == len(table)
        assert all(known in kept for known in table)


def test_what_is_cleared_or_taken_the_place_of_is_kept_no_longer() -> None:
    kept: KeptAnswers[str, int] = KeptAnswers()
    kept.keep("a", 1, MOST)
    first = kept.get("a")
    kept.keep("a", 2, MOST)
    second = kept.get("a")
    assert first is not None
    assert second is not None
    assert (first.is_kept, second.is_kept, second.answer) == (False, True, 2)
    kept.clear()
    assert not second.is_kept
    assert kept.get("a") is None


def test_another_takes_over_in_the_order_in_which_they_were_asked_for() -> None:
    before: KeptAnswers[str, int] = KeptAnswers()
    for number, name in enumerate("abcd"):
        before.keep(name, number, MOST)
    before.get("a")
    after: KeptAnswers[str, int] = KeptAnswers()
    after.take_over(before, lambda name: name != "c")
    after.keep("e", 9, 3)
    assert [name in after for name in "abcde"] == [True, False, False, True, True]
