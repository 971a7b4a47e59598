"""Finds forbidden calls in the code: those that turn foreign bytes into code, and shells."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "backend", "nuke_plugin", "resolve_plugin")
MODULES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
CALLS = (
    "eval", "exec", "torch.load", "yaml.load", "numpy.load", "np.load", "os.system", "os.popen",
)  # fmt: skip
ENDINGS = ("recv_pyobj", "send_pyobj", "recv_serialized")


def findings(source: str) -> list[str]:
    """Returns the forbidden calls of a module, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            only_its_error = [alias.name for alias in node.names] == ["UnpicklingError"]
            names = [] if only_its_error else [(node.module or "").partition(".")[0]]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
            risky = called in CALLS or called.rpartition(".")[2] in ENDINGS
            if called == "torch.load" and given.get("weights_only") == "True":
                risky = False  # it builds tensors and nothing else
            if called == "np.load" and given.get("allow_pickle") == "False":
                risky = False  # it builds arrays and nothing else
            names = [called] if risky else []
            if given.get("shell", "False") != "False":
                names.append("shell")
            if given.get("trust_remote_code", "False") != "False":
                names.append("trust_remote_code")
            found += [f"{node.lineno}: {name}" for name in names]
            continue
        else:
            continue
        found += [f"{node.lineno}: {name}" for name in names if name in MODULES]
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_that_comes_in_becomes_code(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    assert {str(path): bad for path in paths if (bad := findings(path.read_text()))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from shelve import open",
        "eval(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "from pickle import UnpicklingError, loads",
        "socket.recv_pyobj()",
        "subprocess.run(words, shell=True)",
        "Model.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_it_would_be_found(line: str) -> None:
    assert len(findings(line)) == 1
