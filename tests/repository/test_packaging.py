"""What is published: two packages, the server inside one of them, and it runs outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("packaging")

SERVER = ("metadata", "logstore", "replication", "cli", "chaos")


def run(*command: object, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a package index would see it built: from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    run("tar", "-xzf", archive, "-C", folder, cwd=folder)  # tarfile's filters are not in every Python 3.11
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment with the wheel, and with this one's dependencies.

    A path file lends the dependencies and, unlike an activated environment, not the checkout.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return folder / "bin"


def test_the_wheel_publishes_two_names_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"kraft", "kafkawire"}
    for package in SERVER:
        assert f"kraft/_server/{package}/__init__.py" in names
    assert "kraft/py.typed" in names


def test_both_commands_run_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    for command in ("kraft-node", "kraft"):
        assert "Run one node" in run(installed / command, "--help", cwd=tmp_path).stdout
    wrong = run(installed / "kraft-node", "run", "--node-id", "1", "--set", "a=b", cwd=tmp_path, expect=2)
    assert wrong.stderr == "error: a: is not a configuration key (--set)\n"


def test_the_server_is_found_inside_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import kraft.__main__ as boot; boot.find_server(); import metadata; print(metadata.__file__)"
    where = run(installed / "python", "-c", program, cwd=tmp_path).stdout.strip()
    assert where.endswith("site-packages/kraft/_server/metadata/__init__.py")


def test_the_client_does_not_pull_in_the_server(installed: Path, tmp_path: Path) -> None:
    program = "import sys, kraft.client.producer; print(sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = run(installed / "python", "-c", program, cwd=tmp_path).stdout
    for package in (*SERVER, "aiohttp", "pysyncobj", "typer", "rich"):
        assert f"'{package}'" not in loaded


def test_an_editable_install_is_this_checkout(tmp_path: Path) -> None:
    program = "import cli, metadata, kraft.__main__ as boot; boot.find_server(); print(metadata.__file__)"
    where = run(sys.executable, "-c", program, cwd=tmp_path).stdout.strip()
    assert Path(where) == ROOT / "metadata" / "__init__.py"
