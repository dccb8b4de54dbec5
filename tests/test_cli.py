"""The command as a user meets it: it answers at once, and a mistake is one line with the nearest names."""

import json
import subprocess
import sys

import pytest
from narrowbench import cli

COMMANDS = ("demo", "train", "score", "publish", "list", "check", "env")


def run(capfd, monkeypatch, *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["narrowbench", *args])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capfd.readouterr()
    return stop.value.code or 0, out, err


def test_help_names_every_command_and_imports_no_torch():
    code = ("import sys; sys.argv = ['narrowbench', '--help']\n"
            "from narrowbench import cli\n"
            "try: cli.main()\n"
            "except SystemExit: pass\n"
            "heavy = {'torch', 'transformers', 'inspect_ai', 'pydantic', 'rich.console'} & set(sys.modules)\n"
            "print('HEAVY', sorted(heavy))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(name in out for name in COMMANDS)
    assert "torch" not in out.split("HEAVY")[1] and "inspect_ai" not in out.split("HEAVY")[1]


@pytest.mark.parametrize(("args", "near", "how"), [
    (("train", "cake-45"), "cake-450", "narrowbench list organisms"),
    (("score", "--method", "adl_logitlens"), "adl_logit_lens", "narrowbench list methods"),
    (("score", "--method", "prior", "--suite", "demmo"), "demo", "narrowbench list suites"),
    (("score", "--method", "prior", "--investigator", "raeder"), "reader", "narrowbench list investigators"),
])
def test_unknown_names_give_the_nearest_and_how_to_list_them(capfd, monkeypatch, tmp_path, args, near, how):
    code, out, err = run(capfd, monkeypatch, *args, "--home", str(tmp_path))
    assert code == 2 and near in err and how in err
    assert "Traceback" not in err + out and err.count("\n") == 1


def test_a_wrong_spec_names_file_key_and_reason(capfd, monkeypatch, tmp_path):
    (tmp_path / "mine.yaml").write_text("id: mine\nfamily: sdf\ndomane: baking\n")
    code, _, err = run(capfd, monkeypatch, "train", str(tmp_path / "mine.yaml"))
    assert code == 2 and "mine.yaml" in err and "`domane`: there is no such key" in err


@pytest.mark.parametrize("what", ["organisms", "methods", "suites", "topics", "investigators"])
def test_list_gives_a_table_and_json(capfd, monkeypatch, what):
    code, out, _ = run(capfd, monkeypatch, "list", what, "--json")
    names = [next(iter(row.values())) for row in json.loads(out)]
    assert code == 0 and names and len(set(names)) == len(names)
    _, table, _ = run(capfd, monkeypatch, "list", what)
    assert all(name[:6] in table for name in names)


def test_several_methods_are_planned_at_once_and_named_once(capfd, monkeypatch, tmp_path):
    args = ("-m", "prior", "-m", "oracle", "-m", "prior", "--dry-run", "--json", "--home", str(tmp_path))
    code, out, _ = run(capfd, monkeypatch, "score", *args)
    told = json.loads(out)
    assert code == 0 and [plan["method"] for plan in told] == ["prior", "oracle"]
    assert all(len(plan["organisms"]) == 8 for plan in told)
