"""Imports the module of a design under its real name, with the modules beside it, without hiding any other module.

A library stores the names of functions, for instance ``jobs.deliver``, and imports them in another process. So a
design's file has the same name everywhere, and its folder is on the path of every process: at the end of ``sys.path``
here, in ``PYTHONPATH`` elsewhere.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from duetime.errors import DesignNotLoadable

NEVER_IMPORTED = {"tests", "docs", "examples", "setup", "conftest"}
"""Many distributions install one of these at the top level by mistake, so it says nothing that a folder has one too."""

_loaded: dict[Path, ModuleType] = {}


def real_name(file: Path) -> tuple[str, Path]:
    """Return the name of the module in `file`, and the folder to import it from: above the package that it is in."""
    name, folder = file.stem, file.absolute().parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        name, folder = f"{folder.name}.{name}", folder.parent
    return name, folder


def load_file(file: Path) -> ModuleType:
    """Import the module in `file`, or return it if it was imported before.

    Raises:
        DesignNotLoadable: `file`, or a module beside it, would hide a module of the standard library or an installed
            one; or Python cannot import a file of this name.
        Exception: as the module raises it.
    """
    known = file.resolve()
    if known not in _loaded:
        name, folder = real_name(file)
        if "." in file.stem:
            raise DesignNotLoadable(f"{str(file)!r}: Python imports no module whose name has a dot; rename the file")
        with importable(folder, first=name.partition(".")[0]):
            module = importlib.import_module(name)
        if not module.__file__ or Path(module.__file__).resolve() != known:
            raise DesignNotLoadable(
                f"{str(file)!r} cannot be imported as {name}, because this process has {module.__file__} under this "
                "name; rename the file"
            )
        _loaded[known] = module
    return _loaded[known]


@contextmanager
def importable(folder: Path, *, first: str = "") -> Iterator[None]:
    """Import the modules in `folder` by their names: in this block, and afterwards unless another design has the same.

    first: the module to check first.

    Raises:
        DesignNotLoadable: one of them would hide another module.
    """
    names = sorted({*_modules_in(folder), first} - {""}, key=lambda name: name != first)
    for name in names:
        if hidden := _hidden_by(name, folder):
            raise DesignNotLoadable(
                f"{str(_origin_in(folder, name))!r} would hide the module {name} {hidden} in the processes of the "
                "design; rename the file, or move the design into a folder of its own"
            )
    importlib.invalidate_caches()  # the files may be newer than what was read of the folder
    _FOLDERS.add(folder, names)
    try:
        with _FOLDERS.searched_first(folder):
            yield
    finally:
        _FOLDERS.forget_ambiguous()


class _DesignFolders:
    """The folders of all designs that this process has loaded; a finder of ``sys.meta_path``.

    A name that two of them have is imported only while one of them is loaded. Later it would be a matter of luck whose
    module a function gets, so that is an error.
    """

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}
        self._first: Path | None = None

    def add(self, folder: Path, names: Sequence[str]) -> None:
        self._names[folder] = set(names)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        self.forget_ambiguous()
        if str(folder) not in sys.path:
            sys.path.append(str(folder))

    def __contains__(self, folder: Path) -> bool:
        return folder in self._names

    @contextmanager
    def searched_first(self, folder: Path) -> Iterator[None]:
        before, self._first = self._first, folder
        try:
            yield
        finally:
            self._first = before

    def forget_ambiguous(self) -> None:
        """Remove modules that could be another design's; the design that imported them keeps its references."""
        for module in list(sys.modules):
            if len(self._having(module.partition(".")[0])) > 1:
                del sys.modules[module]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folders = [] if path is not None else self._having(name)
        if len(folders) < 2:
            return None
        if self._first in folders:
            return PathFinder.find_spec(name, [str(self._first)])
        files = " and ".join(str(_origin_in(folder, name)) for folder in folders)
        raise ImportError(
            f"there are two modules called {name} for two designs, {files}; import it at the top of the design's file, "
            "or rename one"
        )

    def _having(self, name: str) -> list[Path]:
        return [folder for folder, names in self._names.items() if name in names]


_FOLDERS = _DesignFolders()


def _modules_in(folder: Path) -> set[str]:
    modules = {file.stem for file in folder.glob("*.py") if "." not in file.stem}
    return (modules | {file.parent.name for file in folder.glob("*/__init__.py")}) - NEVER_IMPORTED


def _origin_in(folder: Path, name: str) -> Path:
    package = folder / name
    return package if package.is_dir() else folder / f"{name}.py"


def _hidden_by(name: str, folder: Path) -> str:
    """Return whose module `name` is, if another than the one in `folder`; empty if there is no other."""
    if name in sys.stdlib_module_names:
        return "of the standard library"
    others = [
        entry for entry in sys.path if Path(entry).absolute() not in _FOLDERS and Path(entry).absolute() != folder
    ]
    # Such as that of a project that is installed as editable.
    finders = [each for each in sys.meta_path if each not in (BuiltinImporter, FrozenImporter, PathFinder, _FOLDERS)]
    for spec in (PathFinder.find_spec(name, others), *(finder.find_spec(name, None) for finder in finders)):
        # A namespace package has no origin, and hides nothing.
        if spec and spec.origin and folder not in Path(spec.origin).absolute().parents:
            return f"in {spec.origin}"
    return ""
