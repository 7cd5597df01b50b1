"""Claims: comparisons of named figures, which a lesson states and a run of its commands decides.

    claim      := comparison ("and" comparison)*
    comparison := sum (operator sum)+         operator: == != < <= > >=
    sum        := the names of figures, numbers, text in quotes, + - * / and brackets

They are read by Python's own grammar, and nothing of it but these forms is evaluated.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from oor.errors import OorError

_COMPARE: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMBINE: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed, as a comparison of figures, and why it is so, in words."""

    text: str
    because: str = ""

    def names(self) -> tuple[str, ...]:
        """The figures that it speaks of, each once, in their order."""
        nodes = ast.walk(_parsed(self.text))
        return tuple(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)))

    def holds(self, figures: Mapping[str, Any]) -> bool:
        """Whether it is true of these figures. OorError if it is no claim, or a figure of it is
        missing.
        """
        return bool(_value(_parsed(self.text), self.text, figures))


def _parsed(text: str) -> ast.expr:
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        raise OorError(f"this is no claim: {text!r}") from None
    if not isinstance(body, ast.Compare | ast.BoolOp):
        raise OorError(f"this claim compares nothing: {text!r}")
    return body


def _value(node: ast.expr, text: str, figures: Mapping[str, Any]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, text, figures) for part in parts)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each, text, figures) for each in (left, *others)]
            return all(
                _COMPARE[type(op)](a, b)
                for op, a, b in zip(ops, values, values[1:], strict=False)
                if _known(op, _COMPARE, text)
            )
        case ast.BinOp(left=left, op=op, right=right) if _known(op, _COMBINE, text):
            return _COMBINE[type(op)](_value(left, text, figures), _value(right, text, figures))
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name in figures:
            return figures[name]
        case ast.Name(id=name):
            raise OorError(f"there is no figure {name!r} for the claim {text!r}")
        case _:
            raise OorError(f"this is no claim: {text!r}")


def _known(op: ast.AST, table: Mapping[Any, Any], text: str) -> bool:
    if type(op) not in table:
        raise OorError(f"this is no claim: {text!r}")
    return True
