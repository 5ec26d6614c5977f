"""hwconfigs/README.md lists every field of the schemas with its unit and default."""

from __future__ import annotations

from pathlib import Path

import pytest
from schema_rows import schema_rows

from spikeloop.simulator.config import HardwareConfig, shipped_files
from spikeloop.simulator.cost.scaling import ScalingTable
from spikeloop.simulator.cost.sram import SramTable
from spikeloop.simulator.cost.technology import Entry, Technology

README = Path(__file__).parents[2] / "hwconfigs" / "README.md"


def _tables() -> list[list[list[str]]]:
    """Tables whose first column is ``field``, as rows of cells."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in README.read_text(encoding="utf-8").splitlines():
        if line.startswith("| field |"):
            tables.append([])
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return tables


TABLES = list(enumerate((HardwareConfig, Entry, Technology, ScalingTable, SramTable)))


@pytest.mark.parametrize(("index", "cls"), TABLES)
def test_readme_lists_the_fields_of_the_schema(index, cls):
    listed = [(row[0].strip("`"), row[1], row[2]) for row in _tables()[index]]
    assert listed == schema_rows(cls)


def test_readme_says_what_every_field_means():
    rows = [row for table in _tables() for row in table]
    assert len(rows) > 100
    assert all(len(row) == 4 and row[3] for row in rows)


def test_readme_names_every_shipped_file():
    text = README.read_text(encoding="utf-8")
    folders = ("accelerators", "technology", "scaling", "memories")
    for name in (name for folder in folders for name in shipped_files(folder)):
        assert f"`{name}`" in text
