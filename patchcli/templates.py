"""Names made from the name of an input: ``masks/{stem}.png``."""

from __future__ import annotations

import os
import re

from patchcli.errors import UsageError
from patchcli.places import plain

FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
FIELDS = ("stem", "name", "ext", "parent", "index")


def expand(template: str, path: str, index: int) -> str:
    """Fill the fields of a template; ``{{`` and ``}}`` stand for braces.

    Args:
        template: text with fields ``{stem}`` (name without suffix), ``{name}``, ``{ext}`` (suffix without its dot),
            ``{parent}`` (folder, ``.`` if none), ``{index}`` (number of the input, from 0).
        path: of the input.
        index: of the input.

    Raises:
        UsageError: a field that there is not, or a brace alone.

    >>> expand("{parent}/masks/{stem}.{ext}", "a/b.png", 0)
    'a/masks/b.png'
    """
    path = plain(path)
    name = os.path.basename(path)
    stem, suffix = os.path.splitext(name)
    values = {"stem": stem, "name": name, "ext": suffix[1:], "parent": os.path.dirname(path) or ".", "index": str(index)}

    def fill(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] not in values:
            raise UsageError(
                f"{template}: has the field {found[0]}; allowed are {', '.join(f'{{{f}}}' for f in FIELDS)}, and {{{{ for a brace"
            )
        return values[found[1]]

    return FIELD.sub(fill, template)


def has_fields(template: str) -> bool:
    """Whether a template gives different names for different inputs."""
    return any(found[0] not in ("{{", "}}") for found in FIELD.finditer(template))
