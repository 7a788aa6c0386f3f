"""The package is as its docstrings say: files in reading order, imports only from those above, a cheap import."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import soundmark

PACKAGE = Path(soundmark.__file__).parent
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "cli" / "commands"})
MOST_FILES = 14
# Run as a whole by the tests of the command line, of the demo and of the report.
WITHOUT_EXAMPLES = re.compile(r"cli/.*|datasets/synthetic|evaluation/report/(?!words|markup|__init__)\w+")


def listed(folder: Path) -> list[str]:
    """The files of a folder in the order of its docstring."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")), clean=False) or ""
    return re.findall(r"^ {4}([a-z_0-9]+) {2,}\S", docstring, flags=re.MULTILINE)


def members(folder: Path) -> set[str]:
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    return files | {path.parent.name for path in folder.glob("*/__init__.py")}


def top_level_imports(path: Path) -> set[str]:
    """What a file imports when it is loaded, as dotted names."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def all_imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(PACKAGE).as_posix())
def test_the_docstring_of_a_sub_package_lists_its_files_in_reading_order(folder: Path):
    order = listed(folder)
    assert sorted(order) == sorted(members(folder))
    prefix = ".".join(("soundmark", *folder.relative_to(PACKAGE).parts, ""))
    for place, name in enumerate(order):
        paths = [folder / f"{name}.py"] if (folder / f"{name}.py").exists() else list((folder / name).rglob("*.py"))
        for path in paths:
            for imported in top_level_imports(path):
                sibling = imported.removeprefix(prefix).split(".")[0]
                if imported.startswith(prefix) and sibling in order and sibling != name:
                    assert sibling in order[:place], f"{path.name} imports {sibling}, which is listed below it"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(PACKAGE).as_posix())
def test_a_folder_has_at_most_14_files(folder: Path):
    assert len(members(folder)) <= MOST_FILES


def test_a_file_has_at_most_600_lines():
    assert not {path.name for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 600}


def test_no_file_imports_a_private_name_of_another():
    private = {
        f"{path.relative_to(PACKAGE)}: {node.module}.{alias.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("soundmark")
        for alias in node.names
        if alias.name.startswith("_")
    }
    assert not private


def test_nothing_is_pickled_evaluated_or_given_to_a_shell():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not {name.split(".")[0] for name in all_imports(path)} & {"pickle", "shelve", "dill", "joblib"}, path
        assert "shell=True" not in text, path
        assert "allow_pickle=True" not in text, path
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        names = {ast.unparse(call.func) for call in calls if "weights_only=True" not in ast.unparse(call)}
        assert not names & {"eval", "exec", "os.system", "torch.load", "torch.save"}, path


def test_the_reference_implementations_are_never_imported():
    oracles = {"librosa", "scipy", "skimage", "sklearn", "cv2", "keras", "crowsetta"}
    for path in PACKAGE.rglob("*.py"):
        assert not {name.split(".")[0] for name in all_imports(path)} & oracles, path


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys\nprint('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("LOADED")[1].split())


HEAVY = {"torch", "pandas", "scipy", "sklearn", "matplotlib", "onnx", "onnxruntime", "numpy", "soundfile"}
SERVER = {"starlette", "uvicorn", "websockets", "prometheus_client"}


def test_import_soundmark_loads_nothing_heavy():
    assert not loaded_by("import soundmark") & {*HEAVY, "typer", "rich", "IPython", "platformdirs"}


@pytest.mark.parametrize("command", ["--help", "compare --help", "classify --help", "serve --help"])
def test_help_loads_nothing_that_would_make_it_slow(command: str):
    code = (
        f"import sys\nfrom soundmark import cli\nsys.argv = ['soundmark', *{command.split()!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass"
    )
    assert not loaded_by(code) & (HEAVY | SERVER)


def test_every_public_name_is_there_when_asked_for():
    for name in soundmark.__all__:
        assert getattr(soundmark, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        soundmark.nothing  # noqa: B018


def test_every_public_function_has_an_example_that_runs():
    """The suite runs every docstring's example (--doctest-modules); this checks that there is one."""
    missing = [
        f"{path.relative_to(PACKAGE)}:{node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not WITHOUT_EXAMPLES.fullmatch(path.relative_to(PACKAGE).with_suffix("").as_posix())
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert missing == []
