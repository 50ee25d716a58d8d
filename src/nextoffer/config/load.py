"""nextoffer.toml -> Settings: every fault at once, the nearest known key named.

The only reader of the environment: secrets come as NEXTOFFER_... variables, and `${NEXTOFFER_NAME}` inside a
URL of the file is filled in from there, so that no password ever stands in the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from nextoffer.config.base import Section, nearest
from nextoffer.config.experiments import experiment_faults
from nextoffer.config.sections import History, Secrets, Settings, Source
from nextoffer.errors import ConfigError


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check nextoffer.toml.

    Raises
    ------
    ConfigError : the file is missing or not TOML, or it has faults; all are listed at once.
    """
    environ = os.environ if environ is None else environ
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            str(path), ["there is no such file; write one with: nextoffer init --orders YOUR_ORDERS.csv"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"the file cannot be read: {error}"]) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [f"not valid TOML: {error}"]) from None
    faults: list[str] = []
    document = _fill_in(document, environ, faults)
    return parse_settings(document, str(path), path.resolve().parent, faults)


def parse_settings(
    document: Mapping[str, Any], where: str, folder: Path, faults: list[str] | None = None
) -> Settings:
    """Check a parsed document; relative paths are relative to `folder`."""
    faults = list(faults or [])
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        faults += [fault_line(dict(item), Settings) for item in error.errors()] + experiment_faults(document)
        raise ConfigError(where, faults) from None
    faults += experiment_faults(document)
    if faults:
        raise ConfigError(where, faults)
    return _resolved(settings, folder)


def read_secrets(environ: Mapping[str, str] | None = None) -> Secrets:
    """NEXTOFFER_SERVER_KEYS, NEXTOFFER_CLIENT_KEYS (comma-separated) and NEXTOFFER_SIGNING_KEY."""
    environ = os.environ if environ is None else environ

    def keys(name: str) -> tuple[str, ...]:
        return tuple(key.strip() for key in environ.get(name, "").split(",") if key.strip())

    return Secrets(
        server_keys=keys("NEXTOFFER_SERVER_KEYS"),
        client_keys=keys("NEXTOFFER_CLIENT_KEYS"),
        signing_key=environ.get("NEXTOFFER_SIGNING_KEY") or None,
    )


def _resolved(settings: Settings, folder: Path) -> Settings:
    def source(item: Source | None) -> Source | None:
        if item is not None and item.url is not None and re.match(r"sqlite:///[^/:]", item.url):
            return item.model_copy(
                update={"url": f"sqlite:///{folder / item.url.removeprefix('sqlite:///')}"}
            )
        if item is None or item.path is None:
            return item
        return item.model_copy(update={"path": str(folder / item.path)})

    history = settings.history.model_copy(
        update={name: source(getattr(settings.history, name)) for name in History.model_fields}
    )
    store = settings.store
    if store.startswith("sqlite:///") and not store.startswith("sqlite:////"):
        store = f"sqlite:///{folder / store.removeprefix('sqlite:///')}"
    engine = settings.engine
    if engine.temp_directory is not None:
        engine = engine.model_copy(update={"temp_directory": folder / engine.temp_directory})
    return settings.model_copy(
        update={
            "history": history,
            "models_dir": folder / settings.models_dir,
            "store": store,
            "engine": engine,
            "offers_file": _offers_file(settings, folder),
        }
    )


def _offers_file(settings: Settings, folder: Path) -> Path | None:
    """The marketer's rules: the file named, else the offers.toml that lies beside, if there is one."""
    beside = folder / "offers.toml"
    if settings.offers_file is not None:
        return folder / settings.offers_file
    return beside if beside.is_file() else None


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _fill_in(node: Any, environ: Mapping[str, str], faults: list[str]) -> Any:
    """Replace ${NEXTOFFER_NAME} in every string of the document."""
    if isinstance(node, dict):
        return {key: _fill_in(value, environ, faults) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill_in(value, environ, faults) for value in node]
    if not isinstance(node, str):
        return node

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if not name.startswith("NEXTOFFER_"):
            faults.append(f"${{{name}}}: only variables that start with NEXTOFFER_ are read")
        elif name not in environ:
            faults.append(f"${{{name}}}: the environment variable {name} is not set")
        return environ.get(name, "") if name.startswith("NEXTOFFER_") else ""

    return _VARIABLE.sub(value_of, node)


def fault_line(error: dict[str, Any], root: type[Section]) -> str:
    """One line for one fault of a document that `root` describes: where, what it is, what to do."""
    path = [str(part) for part in error["loc"] if part != "[key]"]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = _known_keys(path[:-1], root)
        return f"{key}: unknown key{nearest(path[-1], known)}"
    if error["type"] == "missing":
        return f"{key}: required, but absent"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) or repr(given) in message else f" (it is {given!r})"
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}" if key else message


def _known_keys(path: list[str], section: type[Section]) -> list[str]:
    """Keys the schema knows at `path`, e.g. ["history", "orders"] or ["campaigns", "any-name"]."""
    parts = iter(path)
    for part in parts:
        field = section.model_fields.get(part)
        inner = _section_of(field.annotation) if field else None
        if field is None or inner is None:
            return []
        if get_origin(field.annotation) is dict:
            next(parts, None)  # the free name of one table among several
        section = inner
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_of(annotation: Any) -> type[Section] | None:
    """The Section inside `Section`, `Section | None` or `dict[str, Section]`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None
