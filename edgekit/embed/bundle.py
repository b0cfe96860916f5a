"""Several modules of this package as one readable file, cut down to what some names need.

```
modules ─parse→ statements ─follow names from the roots→ kept ones ─flatten names→ one file
```

The text of the modules is kept, comments included. Imports between them fall away: a name that
was imported stays as it is, and `module.name` becomes `name` for a class or constant and
`module_name` for anything else, so that `huffman.read_table` and `rans.read_table` stay two.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class _Statement:
    """A top-level statement with the comments above it and the docstring below it."""

    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]
    first_line: int
    last_line: int


@dataclass(slots=True, eq=False)
class _Module:
    """A parsed module.

    outside: imported names and their import lines. inside: names imported from the package, each
    as (module, name) with an empty name for the module itself.
    """

    name: str
    lines: list[str]
    title: str
    statements: list[_Statement] = field(default_factory=list)
    outside: dict[str, str] = field(default_factory=dict)
    inside: dict[str, tuple[str, str]] = field(default_factory=dict)


def bundle(
    sources: Mapping[str, str],
    roots: Iterable[tuple[str, str]],
    header: str,
    setup: str = "",
) -> str:
    """The text of one file with all that `roots` need.

    sources: text of each module by its full name, lower ones first; a name of the package that
    is imported from a module not among them is looked for in all. roots: module and name of what
    the file is for. header: the docstring. setup: what has to be done before numpy and
    onnxruntime are imported; it may use `os` and `sys`.

    Raises ValueError where two modules give different things the same name, or a flattened name
    is hidden by a local one: the modules have to change then.
    """
    modules = {name: _parse(name, text, sources) for name, text in sources.items()}
    for module in modules.values():
        _resolve(module, modules)
    flat = {
        (module.name, name): name
        for module in modules.values()
        for statement in module.statements
        for name in statement.binds
    }
    flat |= _renamed(modules)
    kept = _reachable(modules, roots)
    parts: list[str] = []
    imports: set[str] = set()
    written: dict[str, str] = {}
    for module in modules.values():
        part = ""
        above: _Statement | None = None
        for statement in module.statements:
            if statement not in kept:
                continue
            imports |= {module.outside[name] for name in statement.uses if name in module.outside}
            text = _flattened(module, statement, flat)
            names = {flat[module.name, name] for name in statement.binds}
            if any(written.get(name) == text for name in names):
                continue
            for name in names:
                if name in written:
                    raise ValueError(f"two modules define {name}")
                written[name] = text
            part += _gap(above, statement) + text
            above = statement
        if part:
            parts.append(f"# {module.name.replace('.', '/')}.py\n# {module.title}{part}")
    return f"{header}\n\n{_import_block(imports, setup)}\n\n" + "\n\n\n".join(parts) + "\n"


def _gap(above: _Statement | None, below: _Statement) -> str:
    """Line ends between two statements: as they stood, and two blank lines about a definition."""
    nodes = (above and above.node, below.node)
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in nodes):
        return "\n\n\n"
    return "\n" if above and above.last_line + 1 == below.first_line else "\n\n"


def _parse(name: str, text: str, known: Iterable[str]) -> _Module:
    tree = ast.parse(text)
    title = (ast.get_docstring(tree) or name).splitlines()[0]
    module = _Module(name, text.splitlines(), title)
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(module, node, set(known))
        elif _is_docstring(node):
            # Documents the constant above it.
            above = module.statements.pop()
            module.statements.append(
                _Statement(above.node, above.binds, above.uses, above.first_line, _last(node))
            )
        else:
            module.statements.append(_statement(module, node))
    return module


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _statement(module: _Module, node: ast.stmt) -> _Statement:
    first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
    while first > 1 and module.lines[first - 2].startswith("#"):
        first -= 1
    uses = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    return _Statement(node, frozenset(_binds(node)), frozenset(uses), first, _last(node))


def _binds(node: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
        return
    for item in ast.walk(node):
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
            yield item.id
        elif isinstance(item, ast.alias):
            yield item.asname or item.name


def _note_import(module: _Module, node: ast.Import | ast.ImportFrom, known: set[str]) -> None:
    for alias in node.names:
        own = alias.asname or alias.name.partition(".")[0]
        if isinstance(node, ast.Import):
            module.outside[own] = f"import {alias.name}" + (
                f" as {alias.asname}" if alias.asname else ""
            )
        elif (node.module or "").partition(".")[0] != "edgekit":
            module.outside[own] = f"from {node.module} import {alias.name}"
        elif f"{node.module}.{alias.name}" in known:
            module.inside[own] = f"{node.module}.{alias.name}", ""
        else:
            module.inside[own] = node.module or "", alias.name


def _resolve(module: _Module, modules: Mapping[str, _Module]) -> None:
    """Names that a package hands on are those of the module that defines them."""
    for own, (home, name) in module.inside.items():
        if name and not (home in modules and _defines(modules[home], name)):
            found = [other.name for other in modules.values() if _defines(other, name)]
            if len(found) > 1:
                raise ValueError(f"{own} of {home} may be any of {found}")
            # None at all: of a part that falls away, or the result's own check finds it.
            module.inside[own] = found[0] if found else home, name


def _defines(module: _Module, name: str) -> bool:
    return any(name in statement.binds for statement in module.statements)


def _renamed(modules: Mapping[str, _Module]) -> dict[tuple[str, str], str]:
    """Flat names of what is reached as `module.name`."""
    return {
        (home, name): f"{home.rpartition('.')[2]}_{name}"
        for module in modules.values()
        for statement in module.statements
        for home, name, _ in _through_modules(module, statement.node)
        if name == name.lower()
    }


def _through_modules(module: _Module, node: ast.stmt) -> Iterator[tuple[str, str, ast.Attribute]]:
    """Every `module.name` of a statement."""
    for item in ast.walk(node):
        if isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name):
            home, name = module.inside.get(item.value.id, ("", "-"))
            if not name:
                yield home, item.attr, item


def _reachable(modules: Mapping[str, _Module], roots: Iterable[tuple[str, str]]) -> set[_Statement]:
    kept: set[_Statement] = set()
    waiting = list(roots)
    while waiting:
        home, name = waiting.pop()
        for statement in modules[home].statements if home in modules else ():
            if name not in statement.binds or statement in kept:
                continue
            kept.add(statement)
            module = modules[home]
            waiting += [(home, used) for used in statement.uses]
            waiting += [module.inside[used] for used in statement.uses if used in module.inside]
            waiting += [
                (other, used) for other, used, _ in _through_modules(module, statement.node)
            ]
    return kept


def _flattened(module: _Module, statement: _Statement, flat: Mapping[tuple[str, str], str]) -> str:
    """The statement's text with its names replaced."""
    edits: dict[tuple[int, int, int], str] = {}
    for home, name, reached in _through_modules(module, statement.node):
        edits[reached.lineno, reached.col_offset, reached.end_col_offset or 0] = flat[home, name]
    for item in ast.walk(statement.node):
        if isinstance(item, ast.Name):
            home, name = module.inside.get(item.id, (module.name, item.id))
            if name and flat.get((home, name), item.id) != item.id:
                edits[item.lineno, item.col_offset, item.end_col_offset or 0] = flat[home, name]
    node = statement.node
    if isinstance(node, ast.FunctionDef) and flat[module.name, node.name] != node.name:
        start = len("def ")
        edits[node.lineno, start, start + len(node.name)] = flat[module.name, node.name]
    _check_not_hidden(statement, set(edits.values()))
    lines = module.lines[statement.first_line - 1 : statement.last_line]
    for (line, start, end), text in sorted(edits.items(), reverse=True):
        # Offsets of the syntax tree count bytes.
        whole = lines[line - statement.first_line].encode()
        lines[line - statement.first_line] = (whole[:start] + text.encode() + whole[end:]).decode()
    return "\n".join(lines)


def _check_not_hidden(statement: _Statement, names: set[str]) -> None:
    if not isinstance(statement.node, ast.FunctionDef | ast.ClassDef):
        return
    local = {
        item.arg if isinstance(item, ast.arg) else item.id
        for item in ast.walk(statement.node)
        if isinstance(item, ast.arg) or (isinstance(item, ast.Name) and _is_stored(item))
    }
    if hidden := names & local:
        raise ValueError(f"{statement.node.name} hides {', '.join(sorted(hidden))}")


def _is_stored(item: ast.Name) -> bool:
    return isinstance(item.ctx, ast.Store)


def _import_block(lines: set[str], setup: str) -> str:
    """Imports in three blocks, standard library first, `from` lines of one module joined."""
    plain = {line for line in lines if line.startswith("import ")}
    joined: dict[str, set[str]] = {}
    for line in lines - plain:
        home, _, name = line.removeprefix("from ").partition(" import ")
        joined.setdefault(home, set()).add(name)
    joined.pop("__future__", None)
    froms = [
        f"from {home} import {', '.join(sorted(joined[home], key=_by_kind))}"
        for home in sorted(joined)
    ]
    outer = ("numpy", "onnxruntime")
    everything = [*sorted(plain), *froms]
    own = [line for line in everything if line.split()[1].partition(".")[0] not in outer]
    others = [line for line in everything if line not in own]
    parts = ["from __future__ import annotations", "\n".join(own), setup, "\n".join(others)]
    return "\n\n".join(filter(None, parts))


def _by_kind(name: str) -> tuple[bool, bool, str]:
    """Constants before classes before functions, as the checks want imports sorted."""
    return not name.isupper(), not name[:1].isupper(), name
