"""Places at which a module of the package can be broken, for `mutants`."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "siftem"
_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Sub, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
#: Where whole numbers are compared, the bound itself matters.
_WITH_BOUND = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OTHER_NAME = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all",
    "all": "any", "argmin": "argmax", "argmax": "argmin",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: source between two places (line from 1, byte column) becomes ``after``."""

    module: str
    kind: str
    start: tuple[int, int]
    end: tuple[int, int]
    before: str
    after: str

    def applied(self, source: bytes) -> bytes:
        """Return the module's source with this change."""
        lines = source.splitlines(keepends=True)
        (first, left), (last, right) = self.start, self.end
        head, tail = lines[first - 1][:left], lines[last - 1][right:]
        return b"".join([*lines[: first - 1], head, self.after.encode(), tail, *lines[last:]])


class _Places(ast.NodeVisitor):
    """Collects what can be changed; what only words messages or types is left alone."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source
        self.found: list[Mutant] = []

    def _add(self, kind: str, node: ast.expr | ast.stmt, after: str) -> None:
        before = ast.get_source_segment(self.source, node)
        assert before is not None and node.end_lineno and node.end_col_offset is not None
        start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
        self.found.append(Mutant(self.module, kind, start, end, before, after))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name != "describe":
            for statement in node.body:
                self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        warns = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "warnings.warn"
        if not warns:
            self.generic_visit(node)

    def _skipped(self, node: ast.AST) -> None:
        pass

    visit_JoinedStr = visit_Raise = visit_Assert = visit_Import = visit_ImportFrom = _skipped

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if other := _SWAPPED.get(type(node.op)):
            self._add(
                "operator", node, f"({ast.unparse(ast.BinOp(node.left, other(), node.right))})"
            )
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if other := _SWAPPED.get(type(node.op)):
            self._add(
                "operator", node, ast.unparse(ast.AugAssign(node.target, other(), node.value))
            )
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            other = _SWAPPED[type(node.ops[0])]
            if any(_is_whole(n) for n in (node.left, *node.comparators)):
                other = _WITH_BOUND.get(type(node.ops[0]), other)
            changed = ast.Compare(node.left, [other()], node.comparators)
            self._add("comparison", node, f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        changed = ast.BoolOp(_SWAPPED[type(node.op)](), node.values)
        self._add("comparison", node, f"({ast.unparse(changed)})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if not isinstance(node.op, ast.UAdd):
            self._add("operator", node, f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._add("number", node, str(not value))
        elif isinstance(value, int):
            self._add("number", node, str(value + 1))
        elif isinstance(value, float):
            self._add("number", node, repr(2.0 * value if value else 1.0))

    def _branch(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if not isinstance(node.test, ast.Compare | ast.UnaryOp):  # those have their own
            self._add("branch", node.test, f"(not ({ast.unparse(node.test)}))")
        self.generic_visit(node)

    visit_If = visit_While = visit_IfExp = _branch

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if other := _OTHER_NAME.get(called):
            text = ast.unparse(node.func)
            self._add("call", node.func, text[: len(text) - len(called)] + other)
        # Constructors need all their arguments: leaving one out is seen by any call.
        for keyword in node.keywords if called[:1].islower() else ():
            # That sequences are equally long is told by errors of the programmer alone.
            if keyword.arg not in (None, "strict"):
                kept = [k for k in node.keywords if k is not keyword]
                self._add("argument", node, ast.unparse(ast.Call(node.func, node.args, kept)))
        self.generic_visit(node)


def _is_whole(node: ast.expr) -> bool:
    """Whether an expression looks like a whole number: a length, a size, or a literal above 0."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and node.value > 0
    text = ast.unparse(node)
    return text.startswith("len(") or text.endswith(".size") or ".shape[" in text


def places(module: str) -> list[Mutant]:
    """Return all mutants of a module; its path is relative to the package."""
    source = (SOURCE / module).read_text(encoding="utf-8")
    found = _Places(module, source)
    found.visit(ast.parse(source))
    return found.found


def shown(mutant: Mutant) -> str:
    """One line that tells what a mutant changes."""
    before, after = (" ".join(text.split())[:90] for text in (mutant.before, mutant.after))
    return f"[{mutant.kind}] {before} -> {after}"
