"""The tables of docs/architectures.md, which the tests here find out and hold."""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"
ENGINES = ("onnxruntime", *(["openvino"] if find_spec("openvino") else []))


class Tables:
    """One section of the document: lines of architectures, each column "yes" or a number of a reason.

    `engines`: those for graphs that are installed here.
    """

    engines = ENGINES

    def __init__(self, section: str, results: Path):
        self.start, self.end = f"<!-- {section}: made by tests/contract -->", f"<!-- end of {section} -->"
        self.results = results / f"{section}.json"  # the lines of this run, as they come
        self.writes = bool(os.environ.get("OCTAVO_WRITE_DOCS"))

    def hold(self, architecture: str, tables: dict[str, dict[str, str]]) -> None:
        """Title -> column -> "yes" or why not: has to be what the document says, or is written there."""
        if self.writes:
            found = json.loads(self.results.read_text(encoding="utf-8")) if self.results.exists() else {}
            found[architecture] = tables
            self.results.write_text(json.dumps(found), encoding="utf-8")
            self._write(found)
            return
        said = self._said().get(architecture, {})
        found = {column: why for line in tables.values() for column, why in line.items()}
        assert {column: why == "yes" for column, why in found.items()} == {
            column: cell == "yes" for column, cell in said.items() if column in found  # an engine may not be installed
        }, found  # fmt: skip

    def _said(self) -> dict[str, dict[str, str]]:
        lines: dict[str, dict[str, str]] = {}
        header: list[str] = []
        for text in DOCS.read_text(encoding="utf-8").partition(self.start)[2].partition(self.end)[0].splitlines():
            cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
            if text.startswith("| architecture"):
                header = cells
            elif text.startswith("| ") and header:
                lines.setdefault(cells[0], {}).update(zip(header[1:], cells[1:], strict=True))
        return lines

    def _write(self, found: dict[str, dict[str, dict[str, str]]]) -> None:
        reasons: list[str] = []
        parts = []
        for title, first in next(iter(found.values())).items():
            table = [["architecture", *first]]
            for architecture, tables in found.items():
                cells = []
                for why in tables[title].values():
                    told = re.sub(r" in /\S+", "", re.sub(r"got: .*': ", "got: ", why))  # others in each run
                    if told != "yes" and told not in reasons:
                        reasons.append(told)
                    cells.append("yes" if told == "yes" else f"no ({1 + reasons.index(told)})")
                table.append([architecture, *cells])
            lines = ["| " + " | ".join(row) + " |" for row in table]
            parts += [f"### {title}", "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])]
        if reasons:
            parts.append("\n".join(f"({number}) {why}" for number, why in enumerate(reasons, start=1)))
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(self.start)
        text = f"{before}{self.start}\n" + "\n\n".join(parts) + f"\n{self.end}{rest.partition(self.end)[2]}"
        DOCS.write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A function of a section's name: its tables. A test run that writes them is one process."""
    return lambda section: Tables(section, tmp_path_factory.getbasetemp())
