"""The rendered register is the register."""

from pathlib import Path

from kdx2i.config import load_protocol
from kdx2i.inspection.register_page import render

ROOT = Path(__file__).parents[2]


def test_the_page_is_current():
    assert (ROOT / "docs" / "protocol.md").read_text() == render(load_protocol(ROOT)), "run `kdx2i protocol`"


def test_every_entry_and_alternative_is_on_the_page():
    register = load_protocol(ROOT)
    page = render(register)
    for entry in register.entries:
        assert page.count(f"`{entry.id}`,") == 1
        assert f"**{entry.chosen}** (chosen)" in page
        assert all(f"**{name}**" in page for name in entry.alternatives)
