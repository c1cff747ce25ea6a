"""Lists the packages; everything else about the project is in pyproject.toml.

setuptools' own discovery names a package after its folder, so it cannot give `codegen/` the name
`odl.codegen`, and a list written by hand would have to be edited for every new subfolder. Here each of the
four folders is searched, and what is found gets the import name that package-dir in pyproject.toml gives it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def packages() -> list[str]:
    """Import names of the four folders and of every package below them."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, str] = pyproject["tool"]["setuptools"]["package-dir"]
    return [
        name
        for package, folder in folders.items()
        for name in (package, *(f"{package}.{inner}" for inner in find_packages(str(ROOT / folder))))
    ]


setup(packages=packages())
