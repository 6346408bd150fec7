"""Building HTML in which every text is escaped."""

from __future__ import annotations

from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Html(str):
    """Text that is HTML already. Only this module makes it from strings."""


Child: TypeAlias = str | Html | None


def element(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """Return an element.

    Args:
        tag: Its name.
        children: Texts, which are escaped, and elements; None is left out.
        attributes: An underscore at the end is dropped, others become hyphens: `class_`, `aria_label`. False
            and None leave the attribute out, True gives it no value.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is True:
            parts.append(name.rstrip("_").replace("_", "-"))
        elif value is not None and value is not False:
            parts.append(f'{name.rstrip("_").replace("_", "-")}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening) if tag in _VOID else Html(f"{opening}{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """Return several children as one."""
    texts = (child if isinstance(child, Html) else escape(child) for child in children if child is not None)
    return Html("".join(texts))
