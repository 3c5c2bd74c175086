"""Requests under outages: counts of every test, printed at the end of the run."""

from __future__ import annotations

import pytest

from tests.chaos.traffic import Traffic


@pytest.fixture
def clients(record_property):
    """Makes `Traffic`, whose counts are kept in the test's report and printed after all tests."""
    made = []

    def clients(*arguments):
        made.append(Traffic(*arguments))
        return made[-1]

    yield clients
    for traffic in made:
        record_property("traffic", traffic.summary())


def pytest_terminal_summary(terminalreporter):
    lines = [
        f"{report.nodeid}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for key, value in report.user_properties
        if key == "traffic"
    ]
    if lines:
        terminalreporter.section("requests under outages")
        for line in lines:
            terminalreporter.write_line(line)
