"""The public interface, and what its documentation lacks.

As a Sphinx extension it warns, and so fails a build with -W, about every public name that has no docstring
or is on no page. A name is public where it stands in the ``__all__`` of the package or of a module directly
below it whose name has no leading underscore; such a module that is itself a package speaks for the files in
it. The extension also opens each module's page with a table of the module's names, and lets a reference use
the short name that the package gives an object (``forwardforward.fit``).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

PACKAGE = "forwardforward"


def public_modules(package: str = PACKAGE) -> Iterator[ModuleType]:
    """The package and the modules directly below it whose names have no leading underscore."""
    root = importlib.import_module(package)
    yield root
    for info in pkgutil.iter_modules(root.__path__):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"{package}.{info.name}")


def public_names(package: str = PACKAGE) -> Iterator[tuple[str, str, Any]]:
    """Each public name as (module, name, object); the object is None where the name does not resolve."""
    for module in public_modules(package):
        for name in getattr(module, "__all__", ()):
            if not name.startswith("__"):
                yield module.__name__, name, getattr(module, name, None)


def _own_docstring(obj: Any) -> bool:
    doc = obj.__doc__ or ""
    generated = inspect.isclass(obj) and doc.startswith(f"{obj.__name__}(")  # by a dataclass, a NamedTuple
    return bool(doc.strip()) and not generated


def problems(package: str = PACKAGE) -> Iterator[str]:
    """What is wrong with the public interface itself, one line each."""
    for module in public_modules(package):
        if not hasattr(module, "__all__"):
            yield f"{module.__name__} has no __all__"
        if not (module.__doc__ or "").strip():
            yield f"{module.__name__} has no docstring"
    seen: set[int] = set()
    for where, name, obj in public_names(package):
        full = f"{where}.{name}"
        if id(obj) in seen and obj is not None:
            continue
        seen.add(id(obj))
        if obj is None:
            yield f"{full} stands in __all__ and does not exist"
        elif (inspect.isclass(obj) or inspect.isroutine(obj)) and not _own_docstring(obj):
            yield f"{full} has no docstring"
        elif inspect.isclass(obj):
            for attribute, value in vars(obj).items():
                is_api = inspect.isroutine(value) or isinstance(value, property)
                if is_api and not attribute.startswith("_") and not inspect.getdoc(getattr(obj, attribute)):
                    yield f"{full}.{attribute} has no docstring"


def undocumented(pages: set[str], package: str = PACKAGE) -> Iterator[str]:
    """The public names that are on no page; `pages` holds the full names that are."""
    by_last: dict[str, list[Any]] = {}
    for full in pages:
        by_last.setdefault(full.rpartition(".")[2], []).append(_resolve(full))
    for where, name, obj in public_names(package):
        on_a_page = inspect.ismodule(obj) and obj.__name__ in pages
        if not on_a_page and not any(obj is shown for shown in by_last.get(name, ())):
            is_value = not (inspect.isclass(obj) or inspect.isroutine(obj))
            hint = " (a constant or type alias needs a #: comment)" if is_value else ""
            yield f"{where}.{name} is on no page of the documentation{hint}"


def _resolve(full: str) -> Any:
    parts = full.split(".")
    for end in range(len(parts), 0, -1):
        try:
            obj: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            obj = getattr(obj, part, None)
        return obj
    return None


def _check(app: Any, env: Any) -> None:
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    pages = {full for full in env.domaindata["py"]["objects"] if full.startswith(PACKAGE)}
    for line in (*problems(), *undocumented(pages)):
        logger.warning(line)


def _add_table(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "module" and getattr(obj, "__all__", None):
        lines += ["", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {member}" for member in obj.__all__]


def _follow_short_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    obj = _resolve(node.get("reftarget", "")) if node.get("reftarget", "").startswith(PACKAGE) else None
    home = f"{getattr(obj, '__module__', None)}.{getattr(obj, '__qualname__', None)}"
    if home == node.get("reftarget") or home not in env.domaindata["py"]["objects"]:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], home, node, contnode)


def _skip_tuple_fields(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("env-check-consistency", _check)
    app.connect("autodoc-process-docstring", _add_table)
    app.connect("autodoc-skip-member", _skip_tuple_fields)
    app.connect("missing-reference", _follow_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
