"""Several options as one parameter of a command, for commands that share them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the fields of each parameter that is a dataclass as options, in its place on the help page.

    Typer reads the signature; the command itself is called with instances of the dataclasses.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     width: int = 1
    ...     height: int = 1
    >>> @with_groups
    ... def draw(text: str, *, size: Size) -> None:
    ...     print(text, size)
    >>> inspect.signature(draw)
    <Signature (text: str, *, width: int = 1, height: int = 1) -> None>
    >>> draw("x", width=3)
    x Size(width=3, height=1)
    """
    signature = inspect.signature(command, eval_str=True)
    types: dict[str, Any] = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    groups = {name: one for name, one in types.items() if inspect.isclass(one) and dataclasses.is_dataclass(one)}

    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        fields = inspect.signature(groups[name], eval_str=True).parameters.values() if name in groups else [parameter]
        parameters += [one.replace(kind=parameter.kind) for one in fields]

    @functools.wraps(command)
    def grouped(*arguments: Any, **options: Any) -> None:
        for name, group in groups.items():
            given = {
                field.name: options.pop(field.name) for field in dataclasses.fields(group) if field.name in options
            }
            options[name] = group(**given)
        command(*arguments, **options)

    grouped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return grouped
