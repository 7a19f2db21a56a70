"""The registry of plug-ins: what installed packages and files of the user's add to each kind of model.

A package offers a class by an entry point (`[project.entry-points."cimemu.adc"]`), a file by defining it; both are read
when a name is first asked for, never at start-up. What is built in is found here too, so that a room asks one place:
`find("cimemu.adc", "linear")`. A plug-in that cannot be used is a `PluginError` in one line.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cimemu.errors import PluginError
from cimemu.given_file import refuse_input

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

MOST_BYTES = 1 << 22


@dataclass(frozen=True)
class Kind:
    """One kind of thing that others may add: its entry-point group, what is built in, and what a class of it must be."""

    group: str
    what: str  # in words, for messages
    built_in: str  # "module:NAME" of the mapping from names to classes
    base: str  # "module:Class" that classes of this kind derive from; it has `plugin_group`
    tag: str  # the attribute, or the pydantic field's default, that names a class
    needs: tuple[str, ...] = ()  # what a class must define; the base's own definition does not count
    needs_of: str = ""  # "module:function" that says what a class must define besides, by the class


KINDS: Mapping[str, Kind] = {
    kind.group: kind
    for kind in (
        Kind(
            "cimemu.adc",
            "converter",
            "cimemu.adc:MODELS",
            "cimemu.adc.base:ConverterBase",
            "model",
            ("thresholds", "levels"),
        ),
        Kind("cimemu.command", "subcommand", "cimemu.cli:commands", "cimemu.bases:Command", "name", ("run",)),
        Kind(
            "cimemu.cost",
            "estimator",
            "cimemu.cost.schema:MODELS",
            "cimemu.cost.site:Estimator",
            "model",
            ("estimate",),
        ),
        Kind("cimemu.export", "exporter", "cimemu.views.export:SUFFIXES", "cimemu.bases:Exporter", "name", ("write",)),
        Kind(
            "cimemu.operator",
            "operator",
            "cimemu.importer.from_onnx:OPERATORS",
            "cimemu.layer.operator:Operator",
            "operator",
            ("infer", "forward"),
        ),
        Kind(
            "cimemu.encoding",
            "encoding",
            "cimemu.encoding:BUILT_IN",
            "cimemu.encoding.base:Encoding",
            "name",
            ("summary", "values"),
        ),
        Kind(
            "cimemu.variation",
            "variation",
            "cimemu.variation:MODELS",
            "cimemu.variation.base:VariationBase",
            "model",
            needs_of="cimemu.variation.base:verbs",
        ),
    )
}


@dataclass(frozen=True)
class Plugin:
    """A class from outside, by the name that a user writes; `file` or `package` with `version` say where it is from."""

    group: str
    name: str
    package: str = ""
    version: str = ""
    file: str = ""
    target: Any = None  # the class of a file, or the entry point of a package

    @property
    def origin(self) -> str:
        """`PACKAGE VERSION`, or the file."""
        return self.file or f"{self.package} {self.version}"

    def load(self) -> Any:
        """The class, checked. Raises PluginError."""
        if self.file:
            return self.target
        return _loaded(self)


@dataclass(frozen=True, eq=False)
class _File:
    """A file as it was read."""

    path: str
    text: str
    module: ModuleType
    plugins: tuple[Plugin, ...]


_files: dict[str, _File] = {}  # by absolute path: what this process has been given


def find(group: str, name: str) -> Any:
    """The class that `name` (a name, or `FILE.py:Class`) means in `group`. Raises PluginError, LookupError for no such."""
    if is_reference(name):
        return _referred(group, name)
    there = [plugin for plugin in outside(group) if plugin.name == name]
    ours = built_in(group)
    if len(there) + (name in ours) > 1:
        others = ["cimemu itself"] * (name in ours) + [plugin.origin for plugin in there]
        raise PluginError(
            f"plug-in {there[-1].origin}: its {KINDS[group].what} {name!r} has the name of one of {others[0]}; "
            "rename it, or remove one of them"
        )
    if name in ours:
        return ours[name]
    if there:
        return there[0].load()
    raise LookupError(name)


def names(group: str) -> list[str]:
    """Every name of `group`: built-in ones first, then those from outside."""
    return list(dict.fromkeys([*built_in(group), *(plugin.name for plugin in outside(group))]))


def outside(group: str) -> tuple[Plugin, ...]:
    """What packages and files offer in `group`; packages are not imported."""
    of_files = [plugin for file in _files.values() for plugin in file.plugins if plugin.group == group]
    return (*(plugin for plugin in _packages(tuple(sys.path)) if plugin.group == group), *of_files)


def built_in(group: str) -> Mapping[str, Any]:
    """What cimemu itself has in `group`, by name."""
    found = _attribute(KINDS[group].built_in)
    ours: Mapping[str, Any] = found() if callable(found) else found
    return ours


def is_reference(name: str) -> bool:
    """Whether `name` is `FILE.py:Class`."""
    return name.rpartition(":")[0].endswith(".py")


def load_plugin(path: str | Path) -> tuple[Plugin, ...]:
    """Run the Python file `path` and register every plug-in class in it (see `cimemu.extend`).

    A file that was loaded already is run again only if its text has changed. Raises PluginError in one line where
    there is no such file, it fails, it offers nothing, or a name in it is taken.
    """
    shown = Path(path)
    try:
        refuse_input(shown, PluginError, "a Python file", most=MOST_BYTES)
        text = shown.read_bytes().decode("utf-8")
    except PluginError as error:
        raise PluginError(f"plug-in {error}") from None
    except UnicodeDecodeError as error:
        raise PluginError(f"plug-in {shown}: byte {error.start} is no UTF-8 text, name a Python file") from None
    return load_text(str(shown.absolute()), text)


def load_text(path: str, text: str) -> tuple[Plugin, ...]:
    """The same for a file whose text is at hand, as worker processes get it."""
    known = _files.get(path)
    if known is not None and known.text == text:
        return known.plugins
    module = _run(path, text)
    file = _File(path, text, module, tuple(_offered(module, path)))
    try:
        if not file.plugins:
            raise PluginError(
                f"plug-in {path}: defines no converter, variation or other plug-in, derive a class from one of cimemu.extend"
            )
        for plugin in file.plugins:
            _check(plugin, plugin.target)
            _check_free(plugin, [other for other in file.plugins if other is not plugin])
    except PluginError:
        del sys.modules[module.__name__]
        raise
    _files[path] = file
    return file.plugins


def files() -> tuple[tuple[str, str], ...]:
    """(path, text) of every file that was loaded: what a worker process must be given."""
    return tuple((file.path, file.text) for file in _files.values())


def forget(path: str | Path) -> None:
    """Take a loaded file back. Objects of its classes stay what they are."""
    file = _files.pop(str(Path(path).absolute()), None)
    if file is not None:
        sys.modules.pop(file.module.__name__, None)


def origin_of(kind: type) -> str | None:
    """Where a class from outside comes from: package with version, file with the SHA-256 of its text, or its module.

    None for a class of cimemu.
    """
    module = kind.__module__
    if module.partition(".")[0] == "cimemu":
        return None
    for file in _files.values():
        if file.module.__name__ == module:
            return f"{file.path} sha256:{hashlib.sha256(file.text.encode()).hexdigest()[:16]}"
    top = module.partition(".")[0]
    for plugin in _packages(tuple(sys.path)):
        if plugin.target.module.partition(".")[0] == top:
            return plugin.origin
    return f"module {module}"


def used(objects: Iterable[Any]) -> list[str]:
    """`KIND NAME (ORIGIN)` of those classes or objects that come from outside, each once, in order."""
    found = []
    for one in objects:
        kind = one if isinstance(one, type) else type(one)
        where = origin_of(kind)
        if where is not None:
            of = KINDS.get(getattr(kind, "plugin_group", ""))
            found.append(f"{of.what} {name_of(kind, of)} ({where})" if of else f"{kind.__name__} ({where})")
    return list(dict.fromkeys(found))


def spelling(kind: type, name: str) -> str:
    """How a command line of another process names a class: `FILE.py:Class` where a file defines it, else `name`."""
    for file in _files.values():
        if file.module.__name__ == kind.__module__:
            return f"{file.path}:{kind.__name__}"
    return name


def name_of(kind: Any, of: Kind) -> str:
    """The name that a class has in its group."""
    field = getattr(kind, "model_fields", {}).get(of.tag)
    return str(getattr(kind, of.tag, "") if field is None else field.default)


def _referred(group: str, name: str) -> Any:
    """The class of `FILE.py:Class`; its plug-in name does as well."""
    path, _, wanted = name.rpartition(":")
    offered = [plugin for plugin in load_plugin(path) if plugin.group == group]
    for plugin in offered:
        if wanted in (plugin.target.__name__, plugin.name):
            return plugin.target
    there = ", ".join(plugin.target.__name__ for plugin in offered) or "none"
    raise PluginError(f"plug-in {path}: has no {KINDS[group].what} {wanted!r}; of that kind it has {there}")


@cache
def _packages(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Entry points of the packages on `path` in our groups; the first distribution of a name counts, as for imports."""
    from importlib.metadata import distributions

    found: dict[str, list[Plugin]] = {}
    for distribution in distributions(path=list(path)):
        text = distribution.read_text("entry_points.txt") or ""
        if "cimemu." not in text:
            continue
        package = str(distribution.metadata["Name"])
        if package in found:
            continue
        found[package] = [
            Plugin(point.group, point.name, package, str(distribution.version), target=point)
            for point in distribution.entry_points
            if point.group in KINDS
        ]
    return tuple(plugin for plugins in found.values() for plugin in plugins)


@cache
def _loaded(plugin: Plugin) -> Any:
    """The class behind an entry point."""
    point: EntryPoint = plugin.target
    where = f"plug-in {plugin.origin}: {plugin.group} {plugin.name} = {point.value}"
    try:
        module = import_module(point.module)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{where} cannot be imported ({_said(error)}); install what it needs, or uninstall {plugin.package}"
        ) from None
    found: Any = module
    for part in (point.attr or "").split("."):
        found = getattr(found, part, None)
    if found is None:
        raise PluginError(f"{where}: {point.module} has no {point.attr!r}; correct its entry point, or uninstall it")
    _check(plugin, found)
    return found


def _run(path: str, text: str) -> ModuleType:
    """The module of a plug-in file; its name follows from the path, so that its classes can be pickled."""
    name = f"cimemu_plugin_{Path(path).stem}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = path
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise PluginError(f"plug-in {path}: {_line(error, path)}{_said(error)}; correct the file") from None
    return module


def _offered(module: ModuleType, path: str) -> Iterator[Plugin]:
    """The plug-in classes that a module defines itself; names that begin with an underscore are its own affair."""
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_"):
            of = KINDS.get(getattr(value, "plugin_group", ""))
            if of is not None:
                yield Plugin(of.group, name_of(value, of), file=path, target=value)


def _check(plugin: Plugin, found: Any) -> None:
    """PluginError where a class is not what its group wants."""
    of = KINDS[plugin.group]
    problem = problem_of(found, of)
    if problem:
        raise PluginError(f"plug-in {plugin.origin}: {problem}")
    if name_of(found, of) != plugin.name:
        raise PluginError(
            f"plug-in {plugin.origin}: entry point {plugin.name!r} of {plugin.group} names {found.__name__}, whose {of.tag} "
            f"is {name_of(found, of)!r}; give both one name"
        )


def problem_of(found: Any, of: Kind) -> str | None:
    """What keeps `found` from being a class of kind `of`, with the remedy; None where nothing does."""
    base: type = _attribute(of.base)
    if not (isinstance(found, type) and issubclass(found, base)):
        shown = getattr(found, "__name__", repr(found)[:40])
        return f"{shown} is no {of.what}, derive it from cimemu.extend.{base.__name__.removesuffix('Base')}"
    needs = (*of.needs, *(_attribute(of.needs_of)(found) if of.needs_of else ()))
    lacking = [need for need in needs if not _defines(found, need, base)]
    if lacking:
        return f"{of.what} {found.__name__} lacks {', '.join(lacking)}; define it (see cimemu.extend)"
    if not name_of(found, of):
        return f"{of.what} {found.__name__} has no name, give it {of.tag}"
    if name_of(found, of) in built_in(of.group) and found is not built_in(of.group)[name_of(found, of)]:
        return f"its {of.what} {name_of(found, of)!r} has the name of one of cimemu itself; rename it"
    return None


def _defines(found: Any, need: str, base: type) -> bool:
    """Whether a class has an attribute or a field of that name which is not the base's own."""
    if need in getattr(found, "model_fields", {}):
        return True
    mine = getattr(found, need, None)
    return mine is not None and mine is not getattr(base, need, None)


def _check_free(plugin: Plugin, beside: Iterable[Plugin]) -> None:
    """PluginError where the name of a file's plug-in is taken: by cimemu, a package, another file or class."""
    others = [other for other in outside(plugin.group) if other.file != plugin.file]
    taken = next((o.origin for o in [*others, *beside] if (o.group, o.name) == (plugin.group, plugin.name)), None)
    if taken is not None:
        raise PluginError(
            f"plug-in {plugin.origin}: its {KINDS[plugin.group].what} {plugin.name!r} has the name of one of {taken}; rename it"
        )


def _attribute(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _line(error: BaseException, path: str) -> str:
    """`line N: `, the last line of the file itself that an error went through."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"line {error.lineno}: "
    number, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == path:
            number = step.tb_lineno
        step = step.tb_next
    return "" if number is None else f"line {number}: "


def _said(error: BaseException) -> str:
    """An error as `Type: message`, in one line of a length that can be read."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    first = " ".join((message.strip().splitlines() or [""])[0].split())[:200]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
