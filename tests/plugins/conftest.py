"""Packages of strangers: a module and its metadata, installed for one test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(code, group={name: target, …}, package=…): a package whose module has the package's name."""
    modules: list[str] = []

    def make(code: str, entry_points: Mapping[str, Mapping[str, str]], package: str = "stranger") -> None:
        folder = tmp_path / package
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{package}.py").write_text(code, encoding="utf-8")
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
        )
        sections = [
            "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
            for group, points in entry_points.items()
        ]
        (info / "entry_points.txt").write_text("\n\n".join(sections), encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        modules.append(package)

    yield make
    for name in modules:
        sys.modules.pop(name, None)
