"""When a service that died is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.supervisor.restart_policy import RestartPolicy


def test_policy_doubles_the_delay_and_gives_up_at_the_fifth_death():
    """Four deaths in a row are answered with 0.1, 0.2, 0.4 and 0.8 s; the fifth with giving up."""
    policy = RestartPolicy()
    assert [policy.delay_after_death(float(second)) for second in range(5)] == [0.1, 0.2, 0.4, 0.8, None]


def test_policy_ignores_deaths_before_the_window():
    """A service that dies every 31 s is started again at once for ever."""
    policy = RestartPolicy(window_s=30.0)
    assert {policy.delay_after_death(31.0 * number) for number in range(20)} == {0.1}


def test_policy_without_a_limit_never_gives_up():
    """Where others serve on, one that dies again and again is tried for ever, at the longest delay."""
    policy = RestartPolicy(max_deaths=None)
    assert [policy.delay_after_death(float(second)) for second in range(20)][-1] == policy.max_delay_s


@given(st.lists(st.floats(0.0, 100.0), max_size=50))
def test_policy_gives_up_exactly_when_the_window_has_too_many_deaths(gaps_s):
    """Whatever the times, None comes if and only if 5 deaths lie within 30 s, and no delay is over the longest."""
    policy = RestartPolicy()
    deaths_s: list[float] = []
    now_s = 0.0
    for gap_s in gaps_s:
        now_s += gap_s
        deaths_s.append(now_s)
        delay_s = policy.delay_after_death(now_s)
        within = sum(death_s > now_s - 30.0 for death_s in deaths_s)
        assert (delay_s is None) == (within >= 5)
        assert delay_s is None or 0.1 <= delay_s <= policy.max_delay_s
