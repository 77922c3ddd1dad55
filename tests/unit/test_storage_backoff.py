"""How long a server that is away is left alone."""

from taskplatform.storage.backoff import LONGEST, Backoff


def test_pauses_double_up_to_five_seconds_and_are_spread() -> None:
    """F18, F24: never longer than five seconds, never two processes in step."""
    backoff = Backoff(0.02)
    pauses = [backoff.next() for _ in range(100)]
    assert 0.01 <= pauses[0] <= 0.02
    for place, pause in enumerate(pauses):
        longest = min(0.02 * 2**place, LONGEST)
        assert longest / 2 <= pause <= longest
    assert len(set(pauses[20:])) > 70


def test_an_answer_makes_the_next_pause_a_short_one() -> None:
    backoff = Backoff(0.02)
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 0.02
