"""The wheel and the editable install: what they hold, and that they work away from the source tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"odl": "odl", "odl.kernels": "kernels", "odl.codegen": "codegen", "odl.targets": "targets"}
PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE")
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.o")


@dataclass(frozen=True)
class Environment:
    """A virtual environment with odl installed; its working directory is outside the source tree."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def run(self, *command: str | Path) -> str:
        """Standard output of a command that must succeed; no variable leads Python to the source tree."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return run(*command, cwd=self.folder, env=variables)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*arguments: str | Path, cwd: Path) -> str:
    """Run pip offline, with the setuptools of the running environment."""
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)
    return run(*command, "--no-deps", "--no-index", "--no-build-isolation", cwd=cwd)


def make_environment(folder: Path, *requirement: str | Path) -> Environment:
    """A new environment with one thing installed, which finds the dependencies where they already are.

    A path in a .pth file adds the running environment's packages, but does not run the .pth files in there:
    the editable install of this very tree, which such a file starts, stays out.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    environment = Environment(folder)
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = "".join(f"{path}\n" for path in sorted(packages))
    (environment.site_packages / "dependencies.pth").write_text(lines, encoding="utf-8")
    # Seen through the path file, the running environment's odl is not this one's to replace.
    pip("--python", environment.python, "install", "--ignore-installed", *requirement, cwd=folder)
    return environment


def import_each(environment: Environment, names: list[str]) -> list[str]:
    """The files that modules come from when one process of the environment imports them all."""
    program = (
        f"import importlib, json; print(json.dumps([importlib.import_module(n).__file__ for n in {names!r}]))"
    )
    files: list[str] = json.loads(environment.run(environment.python, "-c", program))
    return files


def source_files() -> set[str]:
    """Every file in the four folders, by the path it must have in the wheel."""
    return {
        f"{package.replace('.', '/')}/{file.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and not NOT_SOURCE(str(file.parent), list(file.parts))
    }


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is needed for a build: builds leave files behind, and old ones must not slip in."""
    tree = tmp_path_factory.mktemp("source")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, tree / folder, ignore=NOT_SOURCE, symlinks=True)
    for name in PROJECT_FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture(scope="module")
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--wheel-dir", folder, source_tree, cwd=folder)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def wheel_files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return make_environment(tmp_path_factory.mktemp("installed") / "venv", wheel)


def test_wheel_holds_the_package_and_nothing_else(wheel: Path, wheel_files: list[str]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert wheel.name == f"odl-{version}-py3-none-any.whl"
    assert {name.split("/")[0] for name in wheel_files} == {"odl", f"odl-{version}.dist-info"}


def test_wheel_holds_every_file_of_the_four_folders(wheel_files: list[str]) -> None:
    packaged = {name for name in wheel_files if name.startswith("odl/")}
    left_out = sorted(source_files() - packaged)
    assert not left_out, f"not in the wheel (no __init__.py beside it, or see package-data): {left_out}"
    assert sorted(packaged - source_files()) == []


def test_wheel_holds_kernel_templates_and_isa_headers(wheel_files: list[str]) -> None:
    assert any(name.startswith("odl/kernels/") and name.endswith(".j2") for name in wheel_files)
    assert any(name.startswith("odl/kernels/isa/") and name.endswith(".h") for name in wheel_files)


def test_wheel_carries_the_licence(wheel: Path, wheel_files: list[str]) -> None:
    """Of odl itself, and for the projects that it writes."""
    licences = [name for name in wheel_files if name.endswith("/LICENSE")]
    assert len(licences) == 2 and "odl/codegen/LICENSE" in licences
    with zipfile.ZipFile(wheel) as archive:
        assert all(archive.read(licence) == (ROOT / "LICENSE").read_bytes() for licence in licences)


def test_wheel_of_the_source_archive_is_the_same(
    source_tree: Path, wheel_files: list[str], tmp_path: Path
) -> None:
    """A source archive holds files where the tree has links."""
    run(
        sys.executable,
        "-m",
        "build",
        "--sdist",
        "--no-isolation",
        "--outdir",
        tmp_path,
        source_tree,
        cwd=tmp_path,
    )
    [archive] = tmp_path.glob("*.tar.gz")
    pip("wheel", "--wheel-dir", tmp_path, archive, cwd=tmp_path)
    [file] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as again:
        assert sorted(again.namelist()) == sorted(wheel_files)


def test_wheel_shows_the_readme(wheel: Path, wheel_files: list[str]) -> None:
    [metadata] = [name for name in wheel_files if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as archive:
        headers, _, description = archive.read(metadata).decode("utf-8").partition("\n\n")
    assert "Description-Content-Type: text/markdown" in headers
    assert description.strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


def test_installed_wheel_imports_outside_the_tree(installed: Environment) -> None:
    files = import_each(installed, list(FOLDERS))
    assert files == [
        str(installed.site_packages / name.replace(".", "/") / "__init__.py") for name in FOLDERS
    ]


def test_wheel_compiles_resnet8(installed: Environment) -> None:
    project = installed.folder / "resnet8"
    installed.run(installed.folder / "bin" / "odl", "compile", "resnet8", "--target", "host", "-o", project)
    manifest = json.loads((project / "manifest.json").read_text(encoding="utf-8"))
    assert all(memory["peak_bytes"] > 0 for memory in manifest["memory"].values())
    assert (project / "resnet8.h").is_file()
    run("make", "-C", project, cwd=project)


def test_editable_install_sees_new_subpackages(source_tree: Path, tmp_path: Path) -> None:
    tree = tmp_path / "source"
    shutil.copytree(source_tree, tree, ignore=shutil.ignore_patterns("build", "*.egg-info"), symlinks=True)
    environment = make_environment(tmp_path / "venv", "--editable", tree)
    for folder in FOLDERS.values():
        new = tree / folder / "added_later"
        new.mkdir()
        (new / "__init__.py").write_text("", encoding="utf-8")
    files = import_each(environment, [f"{package}.added_later" for package in FOLDERS])
    found = [Path(file).resolve() for file in files]  # the folders are links in odl/
    assert found == [tree.resolve() / folder / "added_later" / "__init__.py" for folder in FOLDERS.values()]


def test_wheel_finds_new_subpackages(source_tree: Path, tmp_path: Path) -> None:
    tree = tmp_path / "source"
    shutil.copytree(source_tree, tree, ignore=shutil.ignore_patterns("build", "*.egg-info"), symlinks=True)
    for folder in FOLDERS.values():
        inner = tree / folder / "added_later" / "deeper"
        inner.mkdir(parents=True)
        (inner.parent / "__init__.py").write_text("", encoding="utf-8")
        (inner / "__init__.py").write_text("", encoding="utf-8")
    pip("wheel", "--wheel-dir", tmp_path, tree, cwd=tmp_path)
    [file] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
    assert {f"{name.replace('.', '/')}/added_later/deeper/__init__.py" for name in FOLDERS} <= names
