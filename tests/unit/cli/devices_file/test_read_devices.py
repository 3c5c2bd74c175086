"""devices.yaml: a cluster, or one line with its errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.sample_files import ROOT
from onnxmesh.cli.devices_file.read_devices import parse_devices, read_devices
from onnxmesh.errors import InvalidRequest

WHOLE = """\
kinds:
  - name: box
    count: 4
    memory_gb: 3.5
    gflops_per_s: 12
    memory_gb_per_s: 4
    node_overhead_us: 6
    profile: cpu-arm
  - name: server
links:
  - between: [box, server]
    bandwidth_mbit_per_s: 80
    latency_ms: 6
  - between: [box, box]
    bandwidth_gbit_per_s: 1
default_link: {bandwidth_gbit_per_s: 16, latency_ms: 0}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "d.yaml, line 1: expected fields such as 'kinds:', but the file is empty"),
        ("# nothing\n", "d.yaml, line 1: expected fields such as 'kinds:', but the file is empty"),
        ("- a", "d.yaml, line 1: expected fields such as 'kinds:', but found a list or a single value"),
        ("kinds: []", "d.yaml, line 1: kinds: expected at least one, got none"),
        ("links: []", "d.yaml, line 1: kinds: this field is required"),
        ("kinds:\n- name: a\n  cout: 3", "line 3: kinds[0].cout: unknown field; did you mean 'count'?"),
        (
            "kinds:\n- name: a\n  zzz: 3",
            (
                "line 3: kinds[0].zzz: unknown field; the fields here are name, count, memory_gb, gflops_per_s, "
                "memory_gb_per_s, node_overhead_us, profile"
            ),
        ),
        ("kind:\n- name: a", "line 1: kind: unknown field; did you mean 'kinds'?"),
        ("kinds:\n- count: 2", "line 2: kinds[0].name: this field is required"),
        (
            "kinds:\n- name: a\n  count: -3",
            "line 3: kinds[0].count: expected a number of at least 1, got -3",
        ),
        ("kinds:\n- name: a\n  count: 2.5", "line 3: kinds[0].count: expected a whole number, got 2.5"),
        ("kinds:\n- name: a\n  count: yes", "line 3: kinds[0].count: expected a whole number, got yes"),
        ("kinds:\n- name: a\n  memory_gb: 0", "line 3: kinds[0].memory_gb: expected a number above 0, got 0"),
        ("kinds:\n- name: a\n  memory_gb: 8 GB", "kinds[0].memory_gb: expected a number, got '8 GB'"),
        ("kinds:\n- name: a\n  memory_gb: .inf", "kinds[0].memory_gb: expected a finite number, got inf"),
        ("kinds:\n- name: a\n  gflops_per_s: .nan", "kinds[0].gflops_per_s: expected a"),
        ("kinds:\n- name: a\n  gflops_per_s: 1e-9", "expected a number of at least 1e-06, got 1e-09"),
        ("kinds:\n- name: 7", "line 2: kinds[0].name: expected text, got 7 (put it in quotes)"),
        ("kinds:\n- name: ''", "kinds[0].name: expected text of at least 1 character, got ''"),
        ("kinds: 3", "line 1: kinds: expected a list, got 3"),
        ("kinds:\n- name: a\n- name: a", "line 3: kinds[1].name: 'a' is already the name of kinds[0]"),
        ("kinds:\n- name: a\n  name: b", "d.yaml, line 3: 'name' is given twice"),
        ("kinds:\n- name: [a", "d.yaml, line 2: not YAML: "),
        ("kinds:\n\t- name: a", "d.yaml, line 2: not YAML: "),
        ("a: 1\n---\nb: 2", "d.yaml, line 2: not YAML: "),
        ("kinds: !!python/object:os.system 1", "d.yaml, line 1: not YAML: could not determine a constructor"),
        ("kinds:\n- name: \x07", "d.yaml, line 2: not YAML: character 7"),
        ("kinds: &k\n- *k", "d.yaml, line 1: it contains itself"),
        ("kinds: " + "[" * 3000, "d.yaml: lists and fields are nested too deeply"),
        ("kinds:\n- name: a\n  count: " + "9" * 5000, "d.yaml, line 3: not YAML: "),
    ],
)
def test_parse_devices_reports_line_and_field_of_an_error(text, message):
    """One line names file, line and field, what was expected and what was found."""
    with pytest.raises(InvalidRequest) as raised:
        parse_devices(text, "d.yaml")
    assert message in raised.value.message
    assert raised.value.message.startswith("d.yaml")
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (
            "{between: [box, servr], bandwidth_gbit_per_s: 1}",
            "there is no kind 'servr'; did you mean 'server'?",
        ),
        (
            "{between: [box, x], bandwidth_gbit_per_s: 1}",
            "there is no kind 'x'; the kinds are 'box', 'server'",
        ),
        ("{between: [box], bandwidth_gbit_per_s: 1}", "between: expected 2 names, got a list of 1"),
        ("{between: box, bandwidth_gbit_per_s: 1}", "between: expected a list, got 'box'"),
        (
            "{between: [box, box]}",
            "expected one of bandwidth_gbit_per_s and bandwidth_mbit_per_s, got neither",
        ),
        (
            "{between: [box, box], bandwidth_gbit_per_s: 1, bandwidth_mbit_per_s: 1}",
            "expected one of bandwidth_gbit_per_s and bandwidth_mbit_per_s, got both",
        ),
        (
            "{between: [box, box], bandwidth_gbit_per_s: 0}",
            "bandwidth_gbit_per_s: expected a number above 0, got 0",
        ),
        (
            "{between: [box, box], bandwidth_gbit_per_s: 1, latency_ms: -1}",
            "latency_ms: expected a number of at least 0, got -1",
        ),
        ("{between: [box, box], bandwith_gbit_per_s: 1}", "did you mean 'bandwidth_gbit_per_s'?"),
        (
            "{between: [server, box], bandwidth_gbit_per_s: 1}",
            "the link between 'server' and 'box' is already links[0]",
        ),
    ],
)
def test_parse_devices_reports_the_line_of_a_wrong_link(link, message):
    """The line is that of the link, in a file that is right otherwise."""
    text = WHOLE.replace("default_link", f"  - {link}\ndefault_link")
    with pytest.raises(InvalidRequest) as raised:
        parse_devices(text, "d.yaml")
    assert raised.value.message.startswith("d.yaml, line 16: links[2]")
    assert message in raised.value.message


def test_parse_devices_reports_errors_in_the_order_of_the_file():
    """Three are listed, the others counted."""
    text = "kinds:\n- name: a\n  count: 0\n  a: 1\n  b: 2\n  memory_gb: -1\n"
    with pytest.raises(InvalidRequest) as raised:
        parse_devices(text, "d.yaml")
    parts = raised.value.message.split("; ")
    assert [part.split(":")[0].removeprefix("d.yaml, ") for part in parts if "line " in part] == [
        "line 3",
        "line 4",
        "line 5",
    ]
    assert parts[-1] == "and 1 more"


@given(st.text(max_size=60))
def test_parse_devices_of_any_text_is_a_cluster_or_one_line(text):
    """Any file gives a cluster or an expected error."""
    try:
        parse_devices(text, "d.yaml")
    except InvalidRequest as error:
        assert error.message.startswith("d.yaml")


def test_read_devices_names_an_unreadable_file(tmp_path):
    """No file, a folder, bytes that are no text: each has its own message."""
    (tmp_path / "binary.yaml").write_bytes(b"kinds:\n\xff\xfe")
    for path, words in [
        (tmp_path / "none.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / "binary.yaml", "binary.yaml, line 2: not YAML: not UTF-8 text"),
    ]:
        with pytest.raises(InvalidRequest) as raised:
            read_devices(path)
        assert words in raised.value.message


@pytest.mark.parametrize("name", ["edge", "data-centre", "mixed"])
def test_read_devices_reads_the_examples(name):
    """Each example is a cluster of several kinds whose devices all have a memory and a link."""
    cluster = read_devices(ROOT / "examples" / "devices" / f"{name}.yaml")
    assert len(cluster.kinds) >= 2
    assert all(kind.memory_bytes for kind in cluster.kinds)
    assert cluster.links
