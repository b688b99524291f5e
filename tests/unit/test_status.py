"""Run states: every state has a phase, and words are parsed in any case."""

import pytest

from runbase.status import ACTIVE, ENDED, WAITING, Phase, Status


def test_each_state_is_in_one_phase() -> None:
    assert set(Status) == WAITING | ACTIVE | ENDED
    assert len(WAITING) + len(ACTIVE) + len(ENDED) == len(Status)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (Status.PENDING, Phase.WAITING),
        (Status.REQUEUED, Phase.WAITING),
        (Status.RUNNING, Phase.ACTIVE),
        (Status.SUSPENDED, Phase.ACTIVE),
        (Status.COMPLETED, Phase.ENDED),
        (Status.NODE_FAIL, Phase.ENDED),
        (Status.PRUNED, Phase.ENDED),
    ],
)
def test_the_phase_of_a_state(status: Status, phase: Phase) -> None:
    assert status.phase is phase


@pytest.mark.parametrize("word", ["running", "Running", "RUNNING", Status.RUNNING])
def test_words_are_parsed_in_any_case(word: str) -> None:
    assert Status.parse(word) is Status.RUNNING


def test_an_unknown_word_is_refused_with_the_list_of_states() -> None:
    with pytest.raises(ValueError, match=r"'finished'.*COMPLETED.*TIMEOUT"):
        Status.parse("finished")
