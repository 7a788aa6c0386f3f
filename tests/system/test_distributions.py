"""The wheel and the sdist: what they contain, and what they do not."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "soundmark"
MAX_WHEEL_BYTES = 5_000_000  # half of it recordings of nature


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str], int]:
    """Names of the files in the wheel and in the sdist, and the size of the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, tracked):  # a copy: a build writes into its source folder
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--quiet", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    checked = [sys.executable, "-m", "twine", "check", "--strict", *map(str, folder.glob("soundmark-*"))]
    subprocess.run(checked, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file, tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
        return set(file.namelist()), inside, wheel.stat().st_size


def test_the_wheel_has_the_package_and_the_licences_and_nothing_else(distributions):
    wheel, _, size = distributions
    names = {path.relative_to(ROOT / "src").as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    expected = {name for name in names if not name.endswith((".pyc", ".pyo"))}
    assert {name for name in wheel if ".dist-info/" not in name} == expected
    assert {"licenses/LICENSE", "licenses/NOTICE"} <= {name.split("/", 1)[1] for name in wheel if ".dist-info/" in name}
    assert size < MAX_WHEEL_BYTES


def test_the_sdist_has_what_the_wheel_is_built_from_and_the_papers(distributions):
    _, sdist, _ = distributions
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "LICENSE", "NOTICE"} <= sdist
    assert "src/soundmark/serving/page/index.html" in sdist
    assert not [name for name in sdist if name.startswith(("tests/data", "shared", "docs/site", ".git"))]
