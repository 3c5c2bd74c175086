"""What clients saw of every outage, told at the end of the run."""

from __future__ import annotations

import pytest

from tests.chaos.traffic import Traffic


@pytest.fixture
def clients(record_property):
    """Makes `Traffic`; what each came to is kept with the test's report, and printed when all tests are done."""
    made = []

    def clients(*arguments):
        made.append(Traffic(*arguments))
        return made[-1]

    yield clients
    for traffic in made:
        record_property("traffic", traffic.told())


def pytest_terminal_summary(terminalreporter):
    told = [
        f"{report.nodeid}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for key, value in report.user_properties
        if key == "traffic"
    ]
    if told:
        terminalreporter.section("requests under outages")
        for line in told:
            terminalreporter.write_line(line)
