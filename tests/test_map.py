"""The house is as its map says: modules in reading order, imports only upwards, and a cheap front door."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import soundmark

PACKAGE = Path(soundmark.__file__).parent
# Parts of one whole, used by their own module or folder alone and run by its example: the voices of the synthetic city,
# and what the report's page is made of.
INSIDE = {"datasets/synthetic.py", *(f"report/{name}.py" for name in ("clips", "figures", "provenance", "scores"))}
ALLOWED_TORCH = {"adam", "models", "graph", "engine", "augmentation", "checkpoint", "training", "export"}


def mapped() -> list[str]:
    """The modules in the order of the package's docstring."""
    return re.findall(r"^    ([a-z_]+)  +\S", soundmark.__doc__ or "", flags=re.MULTILINE)


def modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """What a file imports, as dotted names; what stands under TYPE_CHECKING is not imported."""
    names = set()
    tree = ast.parse(path.read_text())
    skipped = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_map_names_every_module_and_no_other():
    assert sorted(mapped()) == sorted(modules())


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_those_above_it(name):
    above = mapped()[: mapped().index(name)]
    for path in modules()[name]:
        for imported in imports(path):
            parts = imported.split(".")
            if parts[0] == "soundmark" and parts[1] in modules() and parts[1] != name:
                assert parts[1] in above, f"{path.name} imports {imported}, which stands below it on the map"


@pytest.mark.parametrize("name", sorted(set(modules()) - ALLOWED_TORCH))
def test_torch_stands_only_where_networks_are_made(name):
    for path in modules()[name]:
        assert not [module for module in imports(path) if module.split(".")[0] == "torch"], path


def test_nothing_is_pickled_evaluated_or_given_to_a_shell():
    for paths in modules().values():
        for path in paths:
            text = path.read_text()
            assert not {m for m in imports(path) if m.split(".")[0] in ("pickle", "shelve", "dill", "joblib")}, path
            assert "shell=True" not in text, path
            assert "allow_pickle=True" not in text, path
            calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
            names = {ast.unparse(n.func) for n in calls if "weights_only=True" not in ast.unparse(n)}
            assert not names & {"eval", "exec", "os.system", "torch.load", "torch.save"}, path


def test_import_soundmark_loads_nothing_heavy():
    code = "import sys, soundmark; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    heavy = {
        "torch",
        "pandas",
        "scipy",
        "sklearn",
        "matplotlib",
        "onnx",
        "onnxruntime",
        "numpy",
        "soundfile",
        "typer",
        "rich",
    }
    assert not loaded & heavy


@pytest.mark.parametrize("command", ["--help", "compare --help", "classify --help"])
def test_help_loads_nothing_that_would_make_it_slow(command):
    code = (
        "import sys\nfrom soundmark import cli\n"
        f"sys.argv = ['soundmark', *{command.split()!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(printed.split("LOADED")[1].split())
    assert not loaded & {"torch", "numpy", "scipy", "onnxruntime", "matplotlib", "soundfile", "pandas"}
    assert "Usage" in printed


def test_every_public_name_is_there_when_asked_for():
    for name in soundmark.__all__:
        assert getattr(soundmark, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        soundmark.nothing  # noqa: B018


def test_every_public_function_has_an_example_that_runs():
    """The suite runs every docstring's example (--doctest-modules); this holds that there is one to run."""
    missing = []
    for name in sorted(
        set(modules()) - {"cli", "shell", "terminal", "demo"}
    ):  # run whole by test_cli.py and test_demo.py
        for path in modules()[name]:
            if path.relative_to(PACKAGE).as_posix() in INSIDE:
                continue
            for node in ast.parse(path.read_text()).body:
                if (
                    isinstance(node, ast.FunctionDef)
                    and not node.name.startswith("_")
                    and ">>>" not in (ast.get_docstring(node) or "")
                ):
                    missing.append(f"{path.relative_to(PACKAGE)}:{node.name}")
    assert missing == []
