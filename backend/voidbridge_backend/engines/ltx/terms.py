"""The terms of LTX-2's weights."""

from __future__ import annotations

from voidbridge_backend.engines.terms import Terms

TERMS = Terms(
    "LTX-2",
    "ltx",
    "LTX-2.terms.json",
    """\
LTX-2, by Lightricks Ltd. https://github.com/Lightricks/LTX-2 and https://huggingface.co/Lightricks
Its weights are not open source. LTX-2.5 and later have the "LTX-2.x Community License Agreement" of
11 August 2026, LTX-2 and 2.3 the one before it. Read the text that comes with your weights; this is a
summary of the later one.

- An entity with revenues of US$10,000,000 a year or more needs a paid agreement with Lightricks, except to
  test and evaluate outside of production. Affiliates count.
- You are accountable for what you put in and for the pictures that come out. Lightricks claims no rights in them.
- You keep every disclosure, watermark and mark of origin that the model makes, and you say that pictures are
  generated where a law asks for it.
- The restricted uses of the agreement's Attachment A bind you and everybody who works with your copy.
- Copies and LoRAs keep these terms, and the agreement goes with them.

Voidbridge has none of its code or weights, and fetches the weights when you ask for it.
""",
    licences="LTX-2/LICENSE*",
)
