"""The terms of CorridorKey's weights."""

from __future__ import annotations

from voidbridge_backend.engines.terms import Terms

NAME = "CorridorKey"
TERMS = Terms(
    NAME,
    "corridorkey",
    "CorridorKey.terms.json",
    """\
CorridorKey, by Niko Pueringer. https://github.com/nikopueringer/CorridorKey
Its licence is the "Corridor Key Licence" 1.0. Read it there; this is a summary.

- You may key any pictures with it, those of commercial projects included.
- You may not sell, sublicense or repackage it, alone or in a product that competes with it.
- Nobody may be charged for its use: no paid inference, subscription or billing by use.
- Who has a commercial software package and wants to build it in needs a written agreement.
- The name CorridorKey stays in every attribution. Released derivatives keep the same terms.

Voidbridge has none of its code and does not ship, fetch or convert its weights unasked.
""",
)
