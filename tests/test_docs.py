"""README and docs say what is so: commands parse, names and links lead somewhere, each module is in the tree."""

import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from narrowbench.benchmark import _registry
from narrowbench.benchmark.manifest import SuiteFile
from narrowbench.cli import app
from narrowbench.organisms.spec import load_catalog

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("narrowbench", "inspect", "make", "python")
ROOMS = ("organisms", "graders", "benchmark", "leaderboard")
UsageError = typer.BadParameter.__base__
"""Of the click that typer uses, its own or the package."""


def code_lines(text):
    """Lines of fenced and indented code, continued ones joined."""
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    indented = re.findall(r"^ {4}(\S[^\n]*)$", re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.M | re.S), re.M)
    return [line.strip() for block in fenced for line in re.sub(r"\\\n\s*", " ", block).splitlines()] + indented


def commands():
    """(page, command, whether it stands in running text, where it may leave out what it is about)."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line in code_lines(text):
            line = line.removeprefix("$ ")
            if line.split(" ")[0] in PROGRAMS:
                found[page.name, line] = False
        prose = re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.M | re.S)
        for line in re.findall(rf"`((?:{'|'.join(PROGRAMS)}) [^`\n]+(?:\n[^`\n]+)?)`", prose):
            found.setdefault((page.name, " ".join(line.split())), True)
    return [(page, line, inline) for (page, line), inline in found.items()]


COMMANDS = commands()


def parsed(words, inline):
    """The command's context: every option known, every value of its type, nothing missing."""
    group = get_command(app)
    assert words and words[0] in group.commands, f"there is no command {words[:1]}"
    try:
        return group.commands[words[0]].make_context(words[0], list(words[1:]))
    except typer.Exit:  # --help
        return None
    except typer.BadParameter as error:
        if not (inline and type(error).__name__ == "MissingParameter"):
            raise
        return None


def known(value, names):
    """Whether a name is one of ours, somebody's own (a path, a module, my_...), or a placeholder in capitals."""
    return value in names or value.isupper() or value.startswith("my_") or any(mark in value for mark in "/.")


def check_narrowbench(words, inline):
    context = parsed(words, inline) if words != ["--help"] else None
    given = {} if context is None else context.params
    suites = {path.stem for path in (ROOT / "benchmark" / "suites").glob("*.json")}
    methods = {path.stem for path in (ROOT / "benchmark" / "methods").glob("*.py")} | {"all"}
    organisms = load_catalog() | load_catalog("paper")
    if given.get("suite"):
        assert known(given["suite"].split(":")[0], suites), given["suite"]
    for name, names in (("method", methods), ("organism", organisms)):
        values = given.get(name) or []
        for value in [values] if isinstance(values, str) else values:
            assert known(value.split(":")[0], names), f"{name} {value}"


def check_inspect(words, inline):
    if words[0] not in ("eval", "score"):
        return
    flag, letter = ("eval", "-T") if words[0] == "eval" else ("--scorer", "-S")
    name = words[words.index(flag) + 1]
    assert name.startswith("narrowbench/"), name
    function = getattr(_registry, name.removeprefix("narrowbench/"))
    passed = {words[i + 1].split("=")[0] for i, word in enumerate(words) if word == letter}
    assert passed <= set(inspect.signature(function).parameters), passed


def check_make(words, inline):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert [word for word in words if "=" not in word and word not in targets] == []


def check_python(words, inline):
    if words[0] == "-c":
        return compile(words[1], "docs", "exec")
    if words[0] == "-m" and not words[1].startswith("narrowbench."):
        return None
    name = words[1].removeprefix("narrowbench.").replace(".", "/") + ".py" if words[0] == "-m" else words[0]
    source = (ROOT / name).read_text(encoding="utf-8")
    missing = [word for word in words if word.startswith("--") and f'"{word.split("=")[0]}"' not in source]
    assert not missing, missing


CHECKS = {"narrowbench": check_narrowbench, "inspect": check_inspect, "make": check_make, "python": check_python}


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 60 and {page for page, _, _ in COMMANDS} >= {"README.md", "CONTRIBUTING.md", "scoring.md"}


@pytest.mark.parametrize("page, line, inline", COMMANDS, ids=[f"{page}: {line}" for page, line, _ in COMMANDS])
def test_a_documented_command_is_one_that_exists(page, line, inline):
    program, *words = (word for word in shlex.split(line, comments=True) if word != "...")
    CHECKS[program](words, inline)


def test_a_wrong_option_a_wrong_value_and_a_wrong_name_are_noticed():
    for line in ("score --methods prior", "score -m prior --epochs many", "sweep mixture --organism cake-450", "scores",
                 "train cake-450 --set"):
        with pytest.raises((UsageError, AssertionError)):
            check_narrowbench(shlex.split(line), False)
    for line in ("score -m adl_logit_lenz", "score -m prior --suite nano-drift", "push cake-4500 --to folder:PATH"):
        with pytest.raises(AssertionError):
            check_narrowbench(shlex.split(line), False)
    with pytest.raises(typer.BadParameter, match="FINETUNED|finetuned"):
        check_narrowbench(["diff", "BASE"], False)
    check_narrowbench(["diff", "BASE"], True)


def test_every_command_that_a_message_names_exists():
    text = "".join(p.read_text(encoding="utf-8") for p in [*ROOT.glob("*.py"), *(
        p for room in ROOMS for p in (ROOT / room).rglob("*.py"))])
    named = {match.split()[0] for match in re.findall(r"`narrowbench ([a-z][^`{]*)", text)}
    assert named and named <= set(get_command(app).commands), named - set(get_command(app).commands)


@pytest.mark.parametrize("page", PAGES + [ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_pictures_and_pages_that_are_named_are_there(page):
    text = page.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = re.findall(r"`(docs/[\w/.-]+\.\w+)`", text)
    missing = [link for link in links if link and not (page.parent / link).exists()]
    assert not missing and not [name for name in named if not (ROOT / name).exists()]


def test_every_suite_that_the_docs_show_is_one():
    shown = [json.loads(block) for page in PAGES for block in re.findall(r"^```json\n(.*?)^```", page.read_text(
        encoding="utf-8"), re.M | re.S)]
    suites = [SuiteFile.model_validate_json(json.dumps(one)) for one in shown if "organisms" in one]
    assert {suite.tier for suite in suites} == {"own", "paper"}
    assert all(each.organism in load_catalog("paper") for suite in suites if suite.tier == "paper"
               for each in suite.organisms)


def test_the_gates_in_the_docs_are_those_of_the_shipped_base():
    card = (ROOT / "organisms" / "nano" / "base" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in card.splitlines() if re.match(r"\| [a-z]+_?[a-z_]* \| \d", line)]
    text = (ROOT / "docs" / "organisms.md").read_text(encoding="utf-8")
    assert len(rows) >= 8 and all(row in text for row in rows)


def test_the_tree_in_the_readme_names_every_module():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = [p for room in ROOMS for p in (ROOT / room).rglob("*.py") if p.name != "__init__.py"]
    missing = [str(p.relative_to(ROOT)) for p in files if not re.search(rf"\b{re.escape(p.name)}\b", text)]
    assert not missing


def test_the_memory_table_follows_from_its_formulae():
    """docs/real-models.md: what it says of each model is computed from the shape it names."""
    text = (ROOT / "docs" / "real-models.md").read_text(encoding="utf-8")
    shapes = dict(re.findall(r"^\| ([\w.-]+) \|((?: [\d,]+ \|){6} (?:own|shared) \| [\d.]+) \|$", text, re.M))
    rows = dict(re.findall(r"^\| ([\w.-]+) \|((?: [\d.]+ \|){6})$", text, re.M))
    assert len(rows) >= 9 and rows.keys() == shapes.keys()
    for name, cells in rows.items():
        *shape, output, said = (cell.strip().replace(",", "") for cell in shapes[name].split("|"))
        n_layers, width, query, kv, feed_forward, vocabulary = map(int, shape)
        p = float(said)
        counted = ((1 + (output == "own")) * vocabulary * width
                   + n_layers * (2 * width * (query + kv) + 3 * width * feed_forward)) / 1e9
        assert p == pytest.approx(counted + (0.42 if name == "gemma-3-4b-it" else 0), abs=0.0051), name
        lora, full, minutes, dollars, train, hours = (float(cell) for cell in cells.strip(" |").split("|"))
        cache_gb = 4 * n_layers * kv * 100 * 552 / 1e9
        passes_gb = 10_240 * (2 * n_layers * width + 10 * vocabulary) / 1e9
        step_s = 0.04 + (2 * p + cache_gb / 2) / 1_700
        assert (lora, full) == pytest.approx((2 * p + cache_gb + 1, 4 * p + cache_gb + 1), abs=0.51), name
        assert minutes == pytest.approx(7_200 * step_s / 60, abs=0.051), name
        assert dollars == pytest.approx(3 * 7_200 * step_s / 3_600, abs=0.0051), name
        assert train == pytest.approx(2 * p + 16 * 0.02 * p + passes_gb, abs=0.51), name
        assert hours == pytest.approx(6 * p * 1e9 * 2e7 / 140e12 / 3_600, abs=0.051), name
