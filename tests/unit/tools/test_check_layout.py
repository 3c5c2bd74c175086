"""The rules about folders, each against a small tree with one planted violation."""

from __future__ import annotations

import pytest

from tools.check_layout import violations

CODE = "def run():\n    return 1\n"
LONG = CODE + "# a line\n" * 30
IMPORTS_SMALL = "from onnxmesh.graph.cut import small\n" + LONG


def tree(root, **changes):
    """Writes a tree that breaks no rule, with some files other than that; None: without that file."""
    files = {
        "pyproject.toml": '[tool.importlinter]\ncontracts = [{name = "pure", source_modules = ["onnxmesh.graph"]}]\n',
        "onnxmesh/README.md": "# Kernel\n",
        "onnxmesh/__init__.py": "",
        "services/README.md": "# Services\n",
        "services/__init__.py": "",
        "services/gateway/README.md": "# Gateway\n",
        "services/gateway/__init__.py": "",
    }
    for folder, modules in {
        "onnxmesh/graph": ("cut", "join", "split"),
        "onnxmesh/store": ("read", "write", "keep"),
        "services/gateway": ("app", "route", "serve"),
    }.items():
        files |= {f"{folder}/__init__.py": "", f"{folder}/README.md": "# Folder\n"}
        for module in modules:
            files[f"{folder}/{module}.py"] = LONG
            files[f"tests/unit/{folder.partition('/')[2]}/test_{module}.py"] = ""
    for path, text in (files | changes).items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    return root


def test_layout_of_a_tree_within_the_rules_has_no_violation(tmp_path):
    assert list(violations(tree(tmp_path))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"onnxmesh/graph/README.md": None}, "onnxmesh/graph: expected a README.md"),
        (
            {"onnxmesh/graph/README.md": "line\n" * 16},
            "onnxmesh/graph/README.md: expected at most 15 lines, got 16",
        ),
        (
            {"onnxmesh/graph/cut.py": None, "onnxmesh/graph/join.py": None},
            "onnxmesh/graph: expected 3 to 16 modules, got 1",
        ),
        (
            {f"onnxmesh/graph/m{num}.py": f"A = {num}\n" * 30 for num in range(14)},
            "onnxmesh/graph: expected 3 to 16 modules, got 17",
        ),
        (
            {"tests/unit/graph/test_cut.py": None},
            "onnxmesh/graph/cut.py: expected its test at tests/unit/graph/test_cut.py",
        ),
        (
            {"tests/unit/grpah/test_cut.py": ""},
            "tests/unit/grpah: expected a folder of the code with that path",
        ),
        (
            {"onnxmesh/graph/cut.py": CODE, "onnxmesh/graph/join.py": IMPORTS_SMALL},
            "onnxmesh/graph/cut.py: 2 lines and 1 users",
        ),
        (
            {
                "services/gateway/app.py": "from onnxmesh.graph.cut import run\n" + LONG,
                "onnxmesh/store/read.py": "from onnxmesh.graph.join import run\n" + LONG,
                "services/gateway/route.py": "from onnxmesh.graph.join import run\n" + LONG,
            },
            "onnxmesh/graph/cut.py: used by services.gateway alone",
        ),
        (
            {
                "pyproject.toml": "[tool.importlinter]\n"
                'contracts = [{name = "pure", source_modules = ["onnxmesh.graph.cut"]}]\n'
            },
            "pyproject.toml: contract 'pure': expected folders, got the module onnxmesh.graph.cut",
        ),
    ],
)
def test_layout_names_a_planted_violation(tmp_path, changes, expected):
    (found,) = violations(tree(tmp_path, **changes))
    assert found.startswith(expected)


def test_layout_accepts_the_test_of_a_shell_among_the_integration_tests(tmp_path):
    changes = {"tests/unit/graph/test_cut.py": None, "tests/integration/graph/test_cut.py": ""}
    assert list(violations(tree(tmp_path, **changes))) == []


def test_layout_asks_no_test_of_a_module_that_only_declares(tmp_path):
    declares = (
        "from typing import Protocol\n\n\nclass Port(Protocol):\n    def run(self) -> int:\n        ...\n"
        + "\n" * 30
    )
    changes = {"onnxmesh/graph/cut.py": declares, "tests/unit/graph/test_cut.py": None}
    assert list(violations(tree(tmp_path, **changes))) == []
