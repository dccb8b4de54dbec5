"""verify: an honest record passes, no bytes at all make it crash, and its exit code says what became of it."""

import json
import resource
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from verified import json_values, plain, quick, reasons

from narrowbench.cli_board import app
from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.archive import samples_path
from narrowbench.leaderboard.consistency import DECLARED
from narrowbench.leaderboard.record import Record
from narrowbench.leaderboard.verify import verify


def test_an_honest_record_passes_with_and_without_its_log(honest, place):
    path = place(*plain(honest))
    assert reasons(path) == "" and verify(path).code == 0
    found = verify(path, find_logs(honest[2]))
    assert found.reasons == () and found.with_logs and found.level.level == "self" and not found.level.ranked
    assert len(honest[1]) >= 30 and verify(path).to_dict()["declared"] == [each.field for each in DECLARED]


def test_a_record_in_anothers_place_or_with_a_file_missing_is_refused(honest, place, tmp_path):
    path = place(*plain(honest))
    other = path.with_name("oracle-0123456789abcdef.json")
    shutil.copy(path, other)
    shutil.copy(samples_path(path), samples_path(other))
    assert "its place is" in reasons(other)
    samples_path(path).unlink()
    assert verify(path).code == 1
    assert verify(tmp_path / "none.json").code == 2 and "no such file" in reasons(tmp_path / "none.json")


@quick
@given(raw=st.one_of(json_values, st.fixed_dictionaries({"schema_version": st.just(1)}, optional={
    name: json_values for name in Record.model_fields if name != "schema_version"})))
def test_no_json_makes_it_crash(tmp_path, raw):
    path = tmp_path / "x" / "a.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(raw))
    samples_path(path).write_text(json.dumps(raw))
    assert verify(path).code in (1, 2) and verify(path).reasons


@quick
@given(record=st.binary(max_size=200), samples=st.binary(max_size=200))
def test_no_bytes_make_it_crash(tmp_path, record, samples):
    path = tmp_path / "x" / "a.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(record)
    samples_path(path).write_bytes(samples)
    assert verify(path).code in (1, 2) and verify(path).reasons


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"schema_version": ' + "[" * 900 + "]" * 900 + "}",
                                  '"\\ud800"', '{"schema_version": 1, "record_id": 1e999}', "{}", "nan", ""])
def test_hostile_json_is_refused(tmp_path, text):
    path = tmp_path / "x" / "a.json"
    path.parent.mkdir()
    path.write_text(text)
    samples_path(path).write_text(text)
    assert verify(path).code in (1, 2) and verify(path).reasons


@pytest.mark.parametrize("hostile", ["x\nok /records/a.json\n  a on b", "x\r::error::y", "x\n::add-mask::a",
                                     "x##[error]y", "x\x1b[2J\x1b[31m", "x\u202ey", "x\u2028ok y"])
def test_what_a_record_says_cannot_forge_a_line_of_the_output(honest, place, tmp_path, hostile):
    record, _ = plain(honest)
    path = tmp_path / "nano" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps(record | {hostile: hostile}))
    samples_path(path).write_text("{}\n")
    for words in ([path], [path, "--json"], [tmp_path / hostile / "r.json"]):
        done = CliRunner().invoke(app, ["verify", *map(str, words)])
        assert done.exit_code in (1, 2)
        assert all(line.isprintable() for line in done.output.split("\n")), "nothing moves the cursor or turns a line"
        lines = [line.strip() for line in done.output.splitlines()]
        assert not any(line.startswith(("ok ", "::")) or "##[" in line and "--json" not in words for line in lines)


def test_the_command_says_ok_refused_or_unreadable_in_its_exit_code(honest, place, tmp_path):
    path = place(*plain(honest))

    def run(*args) -> tuple[int, str, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "narrowbench.cli", "verify", *map(str, args)], capture_output=True,
                              text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Traceback" not in done.stderr
        return (done.returncode, done.stdout + done.stderr,
                after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    code, _, cpu_s = run(path)
    assert code == 0 and cpu_s < 2
    code, out, _ = run(path, tmp_path / "none.json", "--json")
    assert code == 2 and [each["code"] for each in json.loads(out)["records"]] == [0, 2]
    path.write_text(path.read_text().replace('"prior"', '"adl"'))
    code, out, _ = run(path)
    assert code == 1 and "refused" in out and "not the hash" in out
    assert run(path, "--logs", tmp_path / "none")[0] == 2
