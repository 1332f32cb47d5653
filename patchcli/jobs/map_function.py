"""The function that ``map`` calls: found by its name, its keywords typed by its own annotations."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import os
import sys
import traceback
import typing
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from patchcli.errors import PatchcliError, UsageError, shortage
from patchcli.patches.map import with_origins
from patchcli.storage.paths import full
from patchcli.storage.streams import user_speaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from patchcli.patches.map import Function

SUFFIX = ".py"
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class FunctionPlace(NamedTuple):
    """Where a function is: a module, or a file of one, and its name in there, which may have dots."""

    home: str
    name: str

    @property
    def is_file(self) -> bool:
        """Whether it is in a file that was named, not in a module that Python finds."""
        return self.home.endswith(SUFFIX)


def parse_function(text: str) -> FunctionPlace:
    """``package.module:function`` or ``file.py:function``.

    Raises:
        UsageError: it is neither, or the file does not exist.
    """
    home, _, name = text.rpartition(":")
    place = FunctionPlace(home, name)
    named = all(part.isidentifier() for part in name.split("."))
    if not named or not (place.is_file or all(part.isidentifier() for part in home.split("."))):
        raise UsageError(f"--func is {text!r}; write package.module:function or file.py:function")
    if place.is_file and not os.path.isfile(full(home)):
        raise UsageError(f"--func {text}: there is no file {home}")
    return place


def file_of(text: str) -> str | None:
    """The file that a function is in; None where that is not known, or there is none."""
    place = parse_function(text)
    if place.is_file:
        return place.home
    try:
        with _elsewhere():
            spec = importlib.util.find_spec(place.home)
    except Exception:  # noqa: BLE001  what is wrong with it is said where it is imported
        return None
    return spec.origin if spec is not None and spec.has_location else None


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """In the block no module is found for lying in the current folder, unless PYTHONPATH names that."""
    own, given = ("", os.getcwd()), os.environ.get("PYTHONPATH", "").split(os.pathsep)
    before = sys.path[:]
    sys.path[:] = [folder for folder in before if folder not in own or folder in given]
    try:
        yield
    finally:
        sys.path[:] = before


def load_function(text: str, arguments: Sequence[tuple[str, str]]) -> Function:
    """Import a function, and give it its keywords; what it prints goes to standard error.

    Args:
        text: as `parse_function` takes it.
        arguments: names and values, as they were typed.

    Returns:
        Of patches ``(B, h, w[, C])`` and their origins ``(B, 2)``.

    Raises:
        PatchcliError: what cannot be imported, is not there or no function; keywords that it does not have, or that are missing.
            What is returned raises it for whatever the function raises.
    """
    place = parse_function(text)
    with _blamed(text, "cannot be imported: it raised "):
        module = _from_file(place.home) if place.is_file else _from_module(place.home)
    function: Any = module
    for part in place.name.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        kind = "no function of that name" if function is None else f"{place.name} is {type(function).__name__}, not a function"
        raise PatchcliError(f"--func {text}: {kind}; it has {_in_words(_functions_of(module))}")
    taking = with_origins(functools.partial(function, **_keywords(function, arguments, text)))

    def call(patches: Any, origins: Any) -> Any:  # noqa: ANN401  whatever it returns
        with _blamed(text, "raised "):
            return taking(patches, origins)

    return call


@contextlib.contextmanager
def _blamed(text: str, what: str) -> Iterator[None]:
    """Whatever the code of a user raises, as a sentence that names it; what it prints is not a result."""
    try:
        with user_speaks(), _in_this_folder():
            yield
    except BaseException as error:
        if shortage(error):
            raise
        said = next(iter(str(error).splitlines()), "")
        raise PatchcliError(f"--func {text}: {what}{type(error).__name__}{': ' * bool(said)}{said}{_where(error)}") from error


@contextlib.contextmanager
def _in_this_folder() -> Iterator[None]:
    """After the block the current folder is the same, where names of outputs have their meaning."""
    before = os.getcwd()
    try:
        yield
    finally:
        os.chdir(before)


def _where(error: BaseException) -> str:
    """The last line of a file that was not found by its name alone, as `` (net.py, line 7)``: most often of the user's own."""
    own = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    lines = [
        frame for frame in own if "site-packages" not in frame.f_code.co_filename and os.path.isfile(frame.f_code.co_filename)
    ]
    lines = [frame for frame in lines if not frame.f_globals.get("__name__", "").startswith(("importlib", "patchcli."))]
    return f" ({os.path.basename(lines[-1].f_code.co_filename)}, line {lines[-1].f_lineno})" if lines else ""


def _from_module(name: str) -> ModuleType:
    with _elsewhere():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            file = name.replace(".", os.sep) + SUFFIX
            if error.name == name and os.path.isfile(full(file)):
                error.msg += f"; for the file in this folder write {file}:NAME"
            raise


class _Loaded(NamedTuple):
    """A file that was run, and how it was then; what is found beside it is known by what was there before."""

    module: ModuleType
    stamps: dict[str, tuple[int, int]]
    others: frozenset[str]


_LOADED: dict[str, _Loaded] = {}  # at most one, by its path


def _from_file(path: str) -> ModuleType:
    """Run a file as Python runs one: what lies beside it can be imported.

    A worker may live longer than a file stays as it is: it is run again where it, or what it imported from beside it, changed.
    """
    file = os.path.abspath(full(path))
    known = _LOADED.get(file)
    if known is not None:
        now = _stamps(file, known.others)
        if all(now.get(name) == stamp for name, stamp in known.stamps.items()):
            known.stamps.update(now)
            return known.module
    forget()
    others, name = frozenset(sys.modules), f"patchcli_map_{Path(file).stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickles look for it
    sys.path.insert(0, os.path.dirname(file))
    _LOADED[file] = _Loaded(module, {}, others)
    spec.loader.exec_module(module)
    _LOADED[file].stamps.update(_stamps(file, others))
    return module


def _beside(file: str, others: frozenset[str]) -> dict[str, str]:
    """The modules that were found beside a file since it was run, and the file of each, it included."""
    folder, found = os.path.dirname(file), {}
    for name, module in [*sys.modules.items()]:
        top = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None) or ""
        place = os.path.dirname(os.path.dirname(top) if os.path.basename(top) == "__init__.py" else top)
        own = getattr(module, "__file__", None)
        if own and place == folder and name not in others and name.partition(".")[0] != "patchcli":
            found[name] = own
    return found


def _stamps(file: str, others: frozenset[str]) -> dict[str, tuple[int, int]]:
    """Size and time of a file and of what it imported from beside it."""
    found = {}
    for path in _beside(file, others).values():
        with contextlib.suppress(OSError):  # gone, and so another
            status = os.stat(path)
            found[path] = status.st_size, status.st_mtime_ns
    return found


def forget() -> None:
    """Let go of the file that was run, and of all that it imported from beside it."""
    for file, known in _LOADED.items():
        for name in _beside(file, known.others):
            del sys.modules[name]
        with contextlib.suppress(ValueError):
            sys.path.remove(os.path.dirname(file))
    _LOADED.clear()
    importlib.invalidate_caches()


def _functions_of(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [name for name, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == module.__name__]


def _in_words(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _keywords(function: Callable[..., Any], arguments: Sequence[tuple[str, str]], text: str) -> dict[str, Any]:
    """The keywords of a function, each of the type that it says."""
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # some that are not written in Python do not say
        return dict(arguments)
    patches, *_ = [*parameters, ""]
    own = {name: one for name, one in parameters.items() if name not in (patches, "origins")}
    any_other = any(one.kind is one.VAR_KEYWORD for one in own.values())
    own = {name: one for name, one in own.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    taken = ((name, value) for name, value in arguments if name in own or any_other)
    given = {name: _typed(value, own.get(name), function, text) for name, value in taken}
    if strange := [name for name, _ in arguments if name not in given]:
        raise PatchcliError(f"--arg {strange[0]}: {text} has no keyword of that name; it has {_in_words([*own])}")
    if missing := [name for name, one in own.items() if one.default is one.empty and name not in given]:
        raise PatchcliError(f"--func {text}: needs {_in_words(missing)}; add --arg {missing[0]}=VALUE")
    return given


def _typed(value: str, parameter: inspect.Parameter | None, function: Callable[..., Any], text: str) -> Any:  # noqa: ANN401
    """A value as the annotation of its parameter says, or the type of its default; text where neither says more."""
    if parameter is None:
        return value
    kind = _hint_of(parameter, function)
    if kind is parameter.empty:
        kind = type(parameter.default) if type(parameter.default) in (bool, int, float) else str
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, UnionType) else (kind,)
    for one in kinds:
        with contextlib.suppress(ValueError, KeyError):
            return _as(one, value)
    names = " or ".join("none" if one is NoneType else getattr(one, "__name__", str(one)) for one in kinds)
    if any(one not in CONVERTERS and typing.get_origin(one) is not Literal for one in kinds):
        allowed = ", ".join(one.__name__ for one in CONVERTERS if one is not NoneType)
        raise PatchcliError(
            f"--arg {parameter.name}: {text} takes {names} for it, which no option can give; allowed are {allowed}"
        )
    choice = " or ".join(str(word) for one in kinds for word in typing.get_args(one)) or names
    raise PatchcliError(f"--arg {parameter.name} is {value!r}; {text} takes {choice}")


def _hint_of(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """What an annotation says, be it text; by itself, because the others may have names that only a type checker knows."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    holder = type("Holder", (), {"__annotations__": {"hint": parameter.annotation}})
    known = getattr(inspect.unwrap(function), "__globals__", {})
    with contextlib.suppress(Exception):
        return typing.get_type_hints(holder, known)["hint"]
    return parameter.annotation


def _as(kind: Any, value: str) -> Any:  # noqa: ANN401
    """A value as a type has it; ValueError or KeyError where it has no such one."""
    if typing.get_origin(kind) is Literal:
        return {str(word): word for word in typing.get_args(kind)}[value]
    return CONVERTERS[kind](value)


def _truth(value: str) -> bool:
    if value.lower() not in (*TRUE, *FALSE):
        raise ValueError(value)
    return value.lower() in TRUE


def _nothing(value: str) -> None:
    if value.lower() != "none":
        raise ValueError(value)


CONVERTERS: dict[Any, Callable[[str], Any]] = {
    bool: _truth,
    int: int,
    float: float,
    str: str,
    Path: Path,
    NoneType: _nothing,
}
