"""The allowed operators, each with its rule.

An operator whose output size depends on data has no rule: shapes and axes must be known before the graph runs.
"""

from __future__ import annotations

from collections.abc import Callable

from soundmark.models.bundle.array_shapes import ARRAY_RULES
from soundmark.models.bundle.shapes import NETWORK_RULES, Call, Result, ShapeError
from soundmark.models.bundle.signal_shapes import SIGNAL_RULES

RULES: dict[str, Callable[[Call], Result]] = {
    name: rule
    for rules in (NETWORK_RULES, ARRAY_RULES, SIGNAL_RULES)
    for rule, names in rules.items()
    for name in names.split()
}


def result_of(call: Call) -> Result:
    """Compute the shapes of the outputs of an operator and its cost.

    Raises:
        ShapeError: with the reason.

    >>> from soundmark.models.bundle.shapes import Value
    >>> result_of(Call("MatMul", [Value((1, 4, 8)), Value((8, 3))]))
    Result(shapes=((1, 4, 3),), operations=96, scratch=0)
    """
    result = RULES[call.operator](call)
    if any(side <= 0 for shape in result.shapes for side in shape):
        raise ShapeError(f"its output would have the shape {list(result.shapes[0])}")
    if len(result.shapes) < call.n_outputs:
        raise ShapeError(f"it has {call.n_outputs} outputs; allowed: {len(result.shapes)}")
    return result
