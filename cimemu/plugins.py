"""The registry of plug-ins: what installed packages and files of the user's add to each kind of model.

A package offers a class by an entry point (`[project.entry-points."cimemu.adc"]`), a file by defining it; both are read
when a name is first asked for, never at start-up. What is built in is found here too, so that a room asks one place:
`find("cimemu.adc", "linear")`. A plug-in that cannot be used is a `PluginError` in one line.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cimemu.errors import PluginError
from cimemu.given_file import refuse_input
from cimemu.plugin_kinds import KINDS, Kind, built_in, name_of, problem_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

MOST_BYTES = 1 << 22


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


def is_reference(name: str) -> bool:
    """Whether `name` is `FILE.py:Class`."""
    return name.rpartition(":")[0].endswith(".py")


def load_plugin(path: str | Path) -> tuple[Plugin, ...]:
    """Run the Python file `path` and register every plug-in class in it (see `cimemu.extend`).

    A file that was loaded already is run again only if its text has changed. Raises PluginError in one line where
    there is no such file, it fails, it offers nothing, or a name in it is taken.

    >>> import cimemu
    >>> with open("mine.py", "w") as file:
    ...     _ = file.write(
    ...         "from cimemu.extend import Encoding\\n"
    ...         "class Plain(Encoding):\\n"
    ...         "    name, summary = 'plain', 'weights without a sign'\\n"
    ...         "    def values(self, weight_bits): return range(2**weight_bits)\\n"
    ...         "    def parts(self, w, weight_bits): return [w]\\n"
    ...     )
    >>> [(plugin.group, plugin.name) for plugin in cimemu.load_plugin("mine.py")]
    [('cimemu.encoding', 'plain')]
    >>> cimemu.load_arch("rram_128", {"macro.weight.encoding": "plain"}).macro.columns_per_output
    8
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


def _check_free(plugin: Plugin, beside: Iterable[Plugin]) -> None:
    """PluginError where the name of a file's plug-in is taken: by cimemu, a package, another file or class."""
    others = [other for other in outside(plugin.group) if other.file != plugin.file]
    taken = next((o.origin for o in [*others, *beside] if (o.group, o.name) == (plugin.group, plugin.name)), None)
    if taken is not None:
        raise PluginError(
            f"plug-in {plugin.origin}: its {KINDS[plugin.group].what} {plugin.name!r} has the name of one of {taken}; rename it"
        )


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


__all__ = [
    "KINDS",
    "Kind",
    "Plugin",
    "built_in",
    "files",
    "find",
    "forget",
    "is_reference",
    "load_plugin",
    "load_text",
    "name_of",
    "names",
    "origin_of",
    "outside",
    "problem_of",
    "spelling",
    "used",
]
