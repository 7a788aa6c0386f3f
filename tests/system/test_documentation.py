"""The code blocks of the README and of docs/ run as they are written, and the site builds without warnings.

Commands are run line by line, Python in one namespace per page, in a folder that has the files they name: synthetic
sounds, and some real clips of UrbanSound8K. Which lines are not run, and why: ``support.documentation.NOT_RUN``.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from support import documentation, documentation_files
from support.documentation import NOT_RUN, ROOT, Block

PAGES = documentation.pages()
BLOCKS = [block for page in PAGES for block in documentation.blocks(page)]
WITH_CODE = [page for page in PAGES if any(block.page == page and block.kind in documentation.CODE for block in BLOCKS)]
PROGRAMS = {
    "arecord", "bash", "cd", "curl", "cut", "dask", "ffmpeg", "find", "git", "head", "make", "pip", "python", "python3",
    "sbatch", "soundmark", "sort",
}  # fmt: skip


def test_every_line_of_shell_starts_with_a_known_program():
    """Else output would be run as code, or code be shown as output."""
    shell = [(block, command) for block in BLOCKS if block.kind == "shell" for command in block.commands()]
    assert len(shell) > 100
    unknown = [
        f"{block.page.name}:{block.line}: {command}"
        for block, command in shell
        if command.split()[0] not in PROGRAMS and not documentation.reason_not_to_run(command)
    ]
    assert unknown == []


def test_other_blocks_name_what_they_are():
    kinds = {block.kind for block in BLOCKS} - {*documentation.CODE}
    assert kinds <= {"text", "json", "yaml", "toml", "ini", "csv", "javascript", "py"}  # py: for other programs


def test_every_reason_not_to_run_a_line_is_used():
    commands = [command for block in BLOCKS if block.kind == "shell" for command in block.commands()]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, command) for command in commands)] == []


def test_links_between_pages_lead_to_files():
    broken = []
    for page in [*PAGES, ROOT / "docs" / "errors.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, mn04_weights: Path) -> tuple[Path, Path]:
    """A folder with the files that the pages name, and the folder of the program."""
    folder = tmp_path_factory.mktemp("documentation")
    program = documentation_files.write_program(folder / "bin")
    documentation_files.write_files(folder / "files", program)
    return folder / "files", program


@pytest.mark.long(200)
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, workplace, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch):
    files, program = workplace
    folder = shutil.copytree(files, tmp_path / "reader")
    found = [block for block in BLOCKS if block.page == page]
    if any("UrbanSound8K" in block.text for block in found if block.kind in documentation.CODE):
        clips = request.getfixturevalue("urbansound8k")  # skipped, with the reason, where the clips are missing
        some = documentation_files.copy_some_clips(clips, folder / "UrbanSound8K", each=4)
        shutil.copytree(some, folder / "data" / "UrbanSound8K")
    for name in written_by(found):
        shutil.rmtree(folder / name, ignore_errors=True)
    monkeypatch.chdir(folder)
    namespace: dict[str, object] = {}
    shell, failures = documentation.Shell(folder, program), []
    monkeypatch.setattr("builtins.input", lambda question: "y")  # the reader's answer
    with FileLock(Path(tempfile.gettempdir()) / "soundmark-documentation.lock"):  # servers share a port
        for block in found:
            if block.kind == "shell":
                failures += [shell.run(command) for command in block.commands()]
            elif block.kind == "python":
                failures.append(run_python(block, namespace))
        failures = [failure for failure in (*failures, shell.stop()) if failure]
    assert not failures, "\n\n".join(failures)


def written_by(found: list[Block]) -> set[str]:
    """The folders that the commands of a page write themselves."""
    text = "\n".join(block.text for block in found if block.kind == "shell")
    return {name for name in re.findall(r"(?:-o|--output) (\w+)(?:\s|$)", text) if name != "final" or "train" in text}


def run_python(block: Block, namespace: dict[str, object]) -> str | None:
    """Run a block of Python; return why it failed, if it did."""
    code = compile("\n" * block.line + block.text, str(block.page), "exec")
    try:
        exec(code, namespace)  # noqa: S102
    except Exception as error:
        return f"{block.page.name}:{block.line}: {type(error).__name__}: {error}"
    return None


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path):
    if not find_spec("sphinx"):
        pytest.skip('the site needs the extra docs: pip install ".[docs]"')
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "-c", "docs", "-b", "html", "-d", tmp_path / "trees"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*command, ".", tmp_path / "site"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "site" / "docs" / "commands.html").read_text()
    assert 'id="soundmark-classify"' in page
    assert "Detection threshold: probability at which an event starts" in page
    assert 'id="soundmark.compare"' in (tmp_path / "site" / "docs" / "api.html").read_text()
    assert "docs/index.html" in (tmp_path / "site" / "index.html").read_text()


def test_the_citation_names_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^version: {re.escape(version)}$", citation, re.MULTILINE)
    assert f"\n## [{version}] - 2" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
