"""Measures the sentences of pages and docstrings: length, and how they begin.

`python tests/docs/plain_english.py` prints one line for each page and each package. `--long` adds every
sentence above the limit of 24 words. `--what` adds every statement that begins with What, Whoever or Whatever.

It counts paragraphs, list items and table cells, and leaves out code blocks, headings and HTML comments. Inline
code or a URL is one word, and a link is its text. A piece below three words, such as a number in a cell, is not a
sentence, so it cannot lower the median.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "backend", "nuke_plugin", "resolve_plugin", "benchmarks", "tests")

MEDIAN = 13
NINETIETH = 24
LONGEST = 50
WHAT_IN = 200
"""Fewer than one statement in so many may begin with What, Whoever or Whatever."""

_SHORTEST = 3
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|al|No|Fig|approx)\.$")
_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_]*[A-Z0-9`])")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
_WORD = re.compile(r"[^\s]*[A-Za-z0-9][^\s]*")
_WHAT = re.compile(r"^[\"'(]*(?:What|Whoever|Whatever)\b(?!')", re.I)


@dataclass(frozen=True)
class Sentence:
    place: str
    text: str

    @property
    def words(self) -> int:
        return len(_WORD.findall(self.text))

    @property
    def begins_with_what(self) -> bool:
        return bool(_WHAT.match(self.text)) and not self.text.rstrip("\"')").endswith("?")


@dataclass
class Measure:
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(s.words for s in self.sentences) if self.sentences else 0

    @property
    def ninetieth(self) -> int:
        """The number of words that 90 of 100 sentences do not exceed."""
        lengths = sorted(s.words for s in self.sentences)
        return lengths[max(0, -(-len(lengths) * 9 // 10) - 1)] if lengths else 0

    @property
    def longest(self) -> int:
        return max((s.words for s in self.sentences), default=0)

    @property
    def whats(self) -> list[Sentence]:
        return [s for s in self.sentences if s.begins_with_what]

    def misses(self) -> list[str]:
        """One line for each target that is missed, with the figure and where to look."""
        found = []
        if self.median > MEDIAN:
            found.append(f"the median sentence has {self.median:g} words; at most {MEDIAN}")
        if self.ninetieth > NINETIETH:
            found.append(f"90 of 100 sentences have up to {self.ninetieth} words; {NINETIETH}")
        found += [
            f"{s.place}: {s.words} words; at most {LONGEST}: {s.text}"
            for s in self.sentences
            if s.words > LONGEST
        ]
        if self.whats and len(self.whats) * WHAT_IN >= len(self.sentences):
            found += [f"{s.place}: begins with What: {s.text}" for s in self.whats]
        return found


def plain(text: str) -> str:
    """Markdown's marks taken away: a link is its words, code and a URL are one word."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(`+)[^`]+\1", "CODE", text)
    text = re.sub(r"<?https?://[^\s>)]+>?", "URL", text)
    return re.sub(r"\*\*|\\(?=\|)", "", text)


def split(text: str) -> list[str]:
    """The sentences of one paragraph, which ends at its end even without a full stop."""
    found: list[str] = []
    for piece in _END.split(re.sub(r"\s+", " ", plain(text)).strip()):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += " " + piece
        else:
            found.append(piece)
    return [piece for piece in found if len(_WORD.findall(piece)) >= _SHORTEST]


def _cells(line: str) -> list[str]:
    """The cells of one row of a table; none of a ruler."""
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
    return [] if all(set(cell) <= set("-: ") for cell in cells) else cells


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of paragraphs, list items and cells; code, headings and comments are left out."""
    text = re.sub(r"<!--.*?-->", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    start, held, fenced = 0, "", False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        fence = line.lstrip().startswith(("```", "~~~"))
        fenced ^= fence
        row = line.lstrip().startswith("|")
        if fence or fenced or row or not line.strip() or line.startswith("#") or _ITEM.match(line):
            if held:
                yield start, held
            held = ""
        if fence or fenced or line.startswith("#"):
            continue
        if row:
            yield from ((number, cell) for cell in _cells(line))
        elif line.strip():
            start = start if held else number
            held += " " + re.sub(r"^\s*>\s?", "", _ITEM.sub("", line))


def of_page(path: Path) -> list[Sentence]:
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    return [Sentence(f"{name}:{n}", s) for n, block in blocks(text) for s in split(block)]


def of_docstrings(path: Path) -> list[Sentence]:
    """Every string that stands as a statement: docstrings, and those below a field or a constant."""
    name = path.relative_to(ROOT).as_posix()
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node.value.value, str):
            for n, block in blocks(node.value.value):
                found += [Sentence(f"{name}:{node.lineno + n - 1}", s) for s in split(block)]
    return found


def pages() -> list[Path]:
    return sorted(
        page for part in ("*.md", "docs/**/*.md", "benchmarks/*.md") for page in ROOT.glob(part)
    )


def sources() -> dict[str, list[Path]]:
    """The Python files of each package."""
    return {name: sorted((ROOT / name).rglob("*.py")) for name in PACKAGES}


def measure(lists: Iterable[list[Sentence]]) -> Measure:
    return Measure([sentence for sentences in lists for sentence in sentences])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("only", nargs="*", help="parts of names of pages or packages")
    parser.add_argument("--long", action="store_true", help="list sentences above 24 words")
    parser.add_argument("--what", action="store_true", help="list statements that begin with What")
    options = parser.parse_args()
    found = {path.relative_to(ROOT).as_posix(): measure([of_page(path)]) for path in pages()}
    found["all pages"] = Measure([s for m in found.values() for s in m.sentences])
    code = {f"{name}/": measure(map(of_docstrings, files)) for name, files in sources().items()}
    found |= code
    found["all docstrings"] = Measure([s for m in code.values() for s in m.sentences])
    print(f"{'':28} sentences  median  90 of 100  longest  What")
    for name, m in found.items():
        if options.only and not any(part in name for part in options.only):
            continue
        print(
            f"{name:28} {len(m.sentences):9}  {m.median:6g}  {m.ninetieth:9}  {m.longest:7}  "
            f"{len(m.whats):4}"
        )
        if not name.startswith("all "):
            for s in m.sentences:
                if (options.long and s.words > NINETIETH) or (options.what and s.begins_with_what):
                    print(f"  {s.place}: {s.words}: {s.text}")


if __name__ == "__main__":
    main()
