"""The pages of ``docs/``, and what is run of them."""

from __future__ import annotations

import re

from tests.helpers.shells import ROOT


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def blocks_of(name: str, language: str, beginning: str = "") -> list[str]:
    """The blocks of a page in a language, those alone that begin as a regular expression says."""
    return [block for block in re.findall(rf"```{language}\n(.*?)```", page(name), re.DOTALL) if re.match(beginning, block)]
