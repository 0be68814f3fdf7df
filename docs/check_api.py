"""Sphinx extension that checks the documentation of the public interface.

It warns about every public name without a docstring and every public name that is not documented on any page,
which fails a build with ``-W``. A name is public if it is listed in the ``__all__`` of the package or of a module
directly below it whose name has no leading underscore; for a subpackage this is the ``__all__`` of its
``__init__.py``. The extension also adds a table of the module's names to each module's page, and resolves
references by the short name of an object (``forwardforward.fit``).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import GenericAlias, ModuleType
from typing import Any

PACKAGE = "forwardforward"


def public_modules(package: str = PACKAGE) -> Iterator[ModuleType]:
    """Yield the package and the modules directly below it whose names have no leading underscore."""
    root = importlib.import_module(package)
    yield root
    for info in pkgutil.iter_modules(root.__path__):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"{package}.{info.name}")


def public_names(package: str = PACKAGE) -> Iterator[tuple[str, str, Any]]:
    """Yield each public name as (module, name, object); the object is None if the name does not resolve."""
    for module in public_modules(package):
        for name in getattr(module, "__all__", ()):
            if not name.startswith("__"):
                yield module.__name__, name, getattr(module, name, None)


def _is_class(obj: Any) -> bool:
    # In Python 3.10 ``inspect.isclass(list[int])`` is true.
    return inspect.isclass(obj) and not isinstance(obj, GenericAlias)


def _has_docstring(obj: Any) -> bool:
    doc = obj.__doc__ or ""
    # Dataclasses and named tuples without a docstring get a generated one: their signature.
    generated = _is_class(obj) and doc.startswith(f"{obj.__name__}(")
    return bool(doc.strip()) and not generated


def problems(package: str = PACKAGE) -> Iterator[str]:
    """Yield the faults of the public interface that need no documentation build, one line each."""
    for module in public_modules(package):
        if not hasattr(module, "__all__"):
            yield f"{module.__name__} has no __all__"
        if not (module.__doc__ or "").strip():
            yield f"{module.__name__} has no docstring"
    seen: set[int] = set()
    for module_name, name, obj in public_names(package):
        full_name = f"{module_name}.{name}"
        if id(obj) in seen and obj is not None:
            continue
        seen.add(id(obj))
        if obj is None:
            yield f"{full_name} is listed in __all__ but does not exist"
        elif (_is_class(obj) or inspect.isroutine(obj)) and not _has_docstring(obj):
            yield f"{full_name} has no docstring"
        elif _is_class(obj):
            if not issubclass(obj, Exception) and "Example:" not in (obj.__doc__ or ""):
                yield f"{full_name} has no example"
            for attribute, value in vars(obj).items():
                is_api = inspect.isroutine(value) or isinstance(value, property)
                if is_api and not attribute.startswith("_") and not inspect.getdoc(getattr(obj, attribute)):
                    yield f"{full_name}.{attribute} has no docstring"


def undocumented(documented: set[str], package: str = PACKAGE) -> Iterator[str]:
    """Yield a warning for each public name that is not among the documented full names."""
    objects: dict[str, list[Any]] = {}
    for full_name in documented:
        objects.setdefault(full_name.rpartition(".")[2], []).append(_resolve(full_name))
    for module_name, name, obj in public_names(package):
        # A name may be documented in another module than the one that exports it, so compare objects.
        is_documented_module = inspect.ismodule(obj) and obj.__name__ in documented
        if not is_documented_module and not any(obj is candidate for candidate in objects.get(name, ())):
            is_value = not (_is_class(obj) or inspect.isroutine(obj))
            hint = " (a constant or type alias needs a #: comment)" if is_value else ""
            yield f"{module_name}.{name} is not documented on any page{hint}"


def _resolve(full_name: str) -> Any:
    parts = full_name.split(".")
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
    documented = {name for name in env.domaindata["py"]["objects"] if name.startswith(PACKAGE)}
    for line in (*problems(), *undocumented(documented)):
        logger.warning(line)


def _add_table(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "module" and getattr(obj, "__all__", None):
        lines += ["", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {member}" for member in obj.__all__]


def _resolve_short_name(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    target = node.get("reftarget", "")
    obj = _resolve(target) if target.startswith(PACKAGE) else None
    if obj is None:
        return None
    name, domain = target.rpartition(".")[2], env.get_domain("py")
    for full_name in domain.objects:
        if full_name.rpartition(".")[2] == name and full_name != target and _resolve(full_name) is obj:
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], full_name, node, contnode)
    return None


def _skip_tuple_fields(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("env-check-consistency", _check)
    app.connect("autodoc-process-docstring", _add_table)
    app.connect("autodoc-skip-member", _skip_tuple_fields)
    app.connect("missing-reference", _resolve_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
