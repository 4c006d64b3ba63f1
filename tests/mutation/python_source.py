"""Mutations of a Python file: those of mutmut, and some of our own.

Ours drop a statement, negate a condition, drop one operand of ``and`` or ``or``, return ``None``,
or drop one member of a tuple of names. Of mutmut's mutations we omit those that only make a call
raise TypeError, and changes of prose: a string with a space in it is a message, and its wording is
not behaviour. Nothing is mutated in annotations, ``assert``, ``cast``, ``__all__``, ``__slots__``,
the arguments ``slots`` and ``strict`` (an assertion), and under ``TYPE_CHECKING``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider, WhitespaceInclusivePositionProvider
from mutmut.mutation import mutators

from tests.mutation.mutant import Edit, Mutant, mutants

_BORROWED: list[tuple[Any, Any]] = [
    (cst.BaseNumber, mutators.operator_number),
    (cst.Name, mutators.operator_name),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.Call, mutators.operator_symmetric_string_methods_swap),
    (cst.Call, mutators.operator_unsymmetrical_string_methods_swap),
    (cst.Lambda, mutators.operator_lambda),
    (cst.Match, mutators.operator_match),
    (cst.IfExp, mutators.operator_if_exp),
    (cst.BinaryOperation, mutators.operator_swap_op),
    (cst.AugAssign, mutators.operator_swap_op),
]

_NOT_MUTATED_CALLS = {"cast", "TypeVar", "NewType", "NamedTuple", "overload", "getLogger"}
_NOT_MUTATED_ARGUMENTS = {"strict", "slots"}
_NOT_MUTATED_TARGETS = {"__all__", "__slots__", "__match_args__", "__version__"}


def python_mutants(file: str, source: str) -> list[Mutant]:
    """Return all mutants of a file. Some do not compile."""
    finder = _Finder(source)
    MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True).visit(finder)
    return mutants(file, source, finder.edits)


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider, WhitespaceInclusivePositionProvider)

    def __init__(self, source: str) -> None:
        super().__init__()
        self.edits: list[Edit] = []
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._module = cst.parse_module("")
        self._scopes: list[str] = []
        self._functions: list[tuple[int, int]] = []
        self._returns_bool: list[bool] = []
        self._statements: list[tuple[int, int]] = []

    # Position in the file

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        if any(m.matches(d.decorator, m.Name("overload")) for d in node.decorators):
            return False
        where = self.get_metadata(PositionProvider, node)
        self._scopes.append(node.name.value)
        self._functions.append((where.start.line, where.end.line))
        returns = node.returns
        self._returns_bool.append(
            returns is not None and m.matches(returns.annotation, m.Name("bool"))
        )
        for parameter in node.params.children:
            parameter.visit(self)
        self._visit_body(node)
        self._functions.pop()
        self._returns_bool.pop()
        self._scopes.pop()
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        self._scopes.append(node.name.value)
        for decorator in node.decorators:
            decorator.visit(self)
        self._visit_body(node)
        self._scopes.pop()
        return False

    def _visit_body(self, node: cst.FunctionDef | cst.ClassDef) -> None:
        if isinstance(node.body, cst.IndentedBlock):
            body = list(node.body.body)
            for statement in body[_has_docstring(body) :]:
                statement.visit(self)

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._is_left_alone(node):
            return False
        header = self._header(node)
        if header is not None:
            self._statements.append(header)
        self._mutate(node)
        go_on = super().on_visit(node)
        if header is not None and not go_on:
            self._statements.pop()
        return go_on

    def on_leave(self, original_node: cst.CSTNode) -> None:
        super().on_leave(original_node)
        if not self._is_left_alone(original_node) and self._header(original_node) is not None:
            if not isinstance(original_node, (cst.FunctionDef, cst.ClassDef)):
                self._statements.pop()

    def _header(self, node: cst.CSTNode) -> tuple[int, int] | None:
        """Return the lines of a statement; of a compound one, those before its body."""
        if isinstance(node, cst.SimpleStatementLine):
            where = self.get_metadata(PositionProvider, node)
            return where.start.line, where.end.line
        if isinstance(node, cst.BaseCompoundStatement):
            where = self.get_metadata(PositionProvider, node)
            body = self.get_metadata(PositionProvider, node.body)
            return where.start.line, max(where.start.line, body.start.line - 1)
        return None

    def _is_left_alone(self, node: cst.CSTNode) -> bool:
        if isinstance(
            node,
            (cst.AssignTarget, cst.Annotation, cst.Assert, cst.Import, cst.ImportFrom, cst.Global),
        ):
            return True
        if isinstance(node, cst.Arg) and node.keyword is not None:
            return node.keyword.value in _NOT_MUTATED_ARGUMENTS
        if isinstance(node, cst.Call):
            name = node.func.value if isinstance(node.func, cst.Name) else None
            if isinstance(node.func, cst.Attribute):
                name = node.func.attr.value
            return name in _NOT_MUTATED_CALLS
        if isinstance(node, cst.Assign) and isinstance(node.targets[0].target, cst.Name):
            return node.targets[0].target.value in _NOT_MUTATED_TARGETS
        if isinstance(node, cst.AnnAssign) and m.matches(
            node.annotation.annotation, m.Name("TypeAlias")
        ):
            return True
        return isinstance(node, cst.If) and m.matches(node.test, m.Name("TYPE_CHECKING"))

    # Mutations

    def _mutate(self, node: cst.CSTNode) -> None:
        for kind, operator in _BORROWED:
            if isinstance(node, kind):
                for other in operator(node):
                    self._replace(node, other)
        if isinstance(node, cst.SimpleStatementLine):
            self._mutate_statements(node)
        elif isinstance(node, cst.SimpleString):
            self._mutate_string(node)
        elif isinstance(node, cst.Comparison):
            self._mutate_comparison(node)
        elif isinstance(node, cst.BooleanOperation):
            self._replace(node, node.left)
            self._replace(node, node.right)
        elif isinstance(node, (cst.If, cst.While, cst.CompIf)):
            self._negate(node.test)
        elif isinstance(node, cst.Call):
            self._mutate_call(node)
        elif isinstance(node, (cst.Tuple, cst.Set, cst.List)):
            self._mutate_display(node)

    def _mutate_statements(self, line: cst.SimpleStatementLine) -> None:
        if len(line.body) != 1 or self._is_left_alone(line.body[0]):
            return
        (node,) = line.body
        if isinstance(node, cst.Expr):
            if isinstance(node.value, (cst.BaseString, cst.Ellipsis, cst.Yield)):
                return
            self._drop(line)
        elif isinstance(node, (cst.Raise, cst.Del, cst.AugAssign, cst.Continue, cst.Break)):
            self._drop(line)
            if isinstance(node, cst.Break):
                self._splice(line, "continue")
            elif isinstance(node, cst.Continue):
                self._splice(line, "break")
        elif isinstance(node, cst.Return):
            if node.value is None:
                self._drop(line)
            elif self._returns_bool and self._returns_bool[-1]:
                self._negate_result(node.value)
            elif not m.matches(node.value, m.Name("None")):
                self._splice(line, "return None")
        elif isinstance(node, cst.Assign):
            if isinstance(node.targets[0].target, (cst.Attribute, cst.Subscript)):
                self._drop(line)
            self._assign_none(node.value)
        elif isinstance(node, cst.AnnAssign) and node.value is not None:
            if isinstance(node.target, cst.Attribute):
                self._drop(line)
            self._assign_none(node.value)

    def _negate_result(self, value: cst.BaseExpression) -> None:
        """Most callers treat ``None`` like ``False``, so the result is negated instead."""
        if not m.matches(value, m.Name("True") | m.Name("False") | m.Comparison()):
            self._splice(value, f"not ({self._text(value)})")

    def _assign_none(self, value: cst.BaseExpression) -> None:
        if m.matches(value, m.Name("None")):
            self._splice(value, '""')
        elif not isinstance(value, (cst.Yield, cst.Await)) and not self._is_left_alone(value):
            self._splice(value, "None")

    def _mutate_string(self, node: cst.SimpleString) -> None:
        text = node.evaluated_value
        if len(text) == 0 or (b" " if isinstance(text, bytes) else " ") in text:  # type: ignore[operator]
            return
        for other in mutators.operator_string(node):
            self._replace(node, other)
            return

    def _mutate_comparison(self, node: cst.Comparison) -> None:
        for place, target in enumerate(node.comparisons):
            for other in (
                *mutators.operator_swap_op(target),
                *(
                    target.with_changes(operator=operator)
                    for operator in mutators.operator_keywords(target.operator)
                ),
            ):
                comparisons = [*node.comparisons]
                comparisons[place] = other  # type: ignore[call-overload]
                self._replace(node, node.with_changes(comparisons=comparisons))
            if (
                isinstance(
                    target.operator,
                    (cst.LessThan, cst.LessThanEqual, cst.GreaterThan, cst.GreaterThanEqual),
                )
                and len(node.comparisons) == 1
            ):
                self._negate_expression(node)

    def _negate(self, test: cst.BaseExpression) -> None:
        """Negate a condition, unless its negation is one of the other mutations."""
        if isinstance(test, (cst.Comparison, cst.UnaryOperation)) or m.matches(
            test, m.Name("True")
        ):
            return
        self._negate_expression(test)

    def _negate_expression(self, test: cst.BaseExpression) -> None:
        self._splice(test, f"(not ({self._text(test)}))")

    def _mutate_call(self, node: cst.Call) -> None:
        if m.matches(node.func, m.Name("isinstance") | m.Name("issubclass") | m.Name("len")):
            return
        for place, argument in enumerate(node.args):
            if argument.keyword is not None:
                if argument.keyword.value in _NOT_MUTATED_ARGUMENTS:
                    continue
                self._replace(node, _without(node, "args", place))
            elif not argument.star and not m.matches(argument.value, m.Name("None")):
                self._splice(argument.value, "None")

    def _mutate_display(self, node: cst.Tuple | cst.Set | cst.List) -> None:
        """Drop one of several names: of caught exceptions, of types, of constants."""
        names = (cst.Name, cst.Attribute)
        if len(node.elements) < 2 or not all(isinstance(e.value, names) for e in node.elements):
            return
        for place in range(len(node.elements)):
            changed = _without(node, "elements", place)
            if isinstance(node, cst.Tuple) and len(node.elements) == 2:
                (only,) = changed.elements
                changed = changed.with_changes(elements=[only.with_changes(comma=cst.Comma())])
            self._replace(node, changed)

    # Edits

    def _drop(self, line: cst.SimpleStatementLine) -> None:
        self._splice(line, "pass")

    def _text(self, node: cst.CSTNode) -> str:
        return self._module.code_for_node(node)

    def _replace(self, node: cst.CSTNode, other: cst.CSTNode) -> None:
        self._edit(node, self._text(other))

    def _splice(self, node: cst.CSTNode, text: str) -> None:
        if isinstance(node, cst.SimpleStatementLine):
            self._edit(node.body[0], text)
        else:
            self._edit(node, text)

    def _edit(self, node: cst.CSTNode, text: str) -> None:
        where = self.get_metadata(WhitespaceInclusivePositionProvider, node)
        start = self._starts[where.start.line - 1] + where.start.column
        end = self._starts[where.end.line - 1] + where.end.column
        original = self._source[start:end]
        if isinstance(node, cst.BaseSmallStatement):
            text += original[len(original.rstrip()) :]
        first, last = self._statements[-1] if self._statements else (where.start.line,) * 2
        first, last = min(first, where.start.line), max(last, where.start.line)
        scope = self._functions[-1] if self._functions else (first, last)
        self.edits.append(Edit(start, end, text, ".".join(self._scopes), first, last, scope))


def _has_docstring(body: Sequence[cst.CSTNode]) -> bool:
    return bool(body) and m.matches(
        body[0], m.SimpleStatementLine(body=[m.Expr(m.SimpleString() | m.ConcatenatedString())])
    )


def _without(node: Any, field: str, place: int) -> Any:
    kept = [one for i, one in enumerate(getattr(node, field)) if i != place]
    if kept and place == len(kept):
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return node.with_changes(**{field: kept})
