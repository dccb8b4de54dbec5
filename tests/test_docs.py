"""README and docs say what is so: every command parses, every module stands in the tree."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from narrowbench.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(
    {
        line.removeprefix("$ ").strip()
        for page in PAGES
        for line in re.findall(r"^(?:\$ )?(narrowbench [^\n]+)$", page.read_text(encoding="utf-8"), re.M)
        if line.startswith("narrowbench ")
    }
)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 3


@pytest.mark.parametrize("line", COMMANDS)
def test_a_documented_command_is_one_that_exists(line):
    words = shlex.split(line.split("#")[0])[1:]
    group = get_command(app)
    assert words[0] in group.commands, f"{line}: no command {words[0]}"
    known = {name for parameter in group.commands[words[0]].params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known | {"--help"}, line


def test_every_command_that_a_message_names_exists():
    text = "".join(p.read_text(encoding="utf-8") for p in [*ROOT.glob("*.py"), *(
        p for room in ("organisms", "graders", "benchmark", "leaderboard") for p in (ROOT / room).rglob("*.py"))])
    named = {match.split()[0] for match in re.findall(r"`narrowbench ([a-z][^`{]*)", text)}
    assert named and named <= set(get_command(app).commands), named - set(get_command(app).commands)


def test_the_gates_in_the_readme_are_those_of_the_shipped_base():
    card = (ROOT / "organisms" / "nano" / "base" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in card.splitlines() if re.match(r"\| [a-z]+_?[a-z_]* \| \d", line)]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(rows) >= 8 and all(row in text for row in rows)


def test_the_tree_in_the_readme_names_every_module():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = ["organisms", "graders", "benchmark", "leaderboard"]
    files = [p for room in rooms for p in (ROOT / room).rglob("*.py") if p.name != "__init__.py"]
    missing = [str(p.relative_to(ROOT)) for p in files if not re.search(rf"\b{re.escape(p.name)}\b", text)]
    assert not missing
