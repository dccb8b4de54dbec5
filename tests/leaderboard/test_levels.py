"""Levels: given beside the records by those who ran them again, never brought along, and lost by an edit."""

import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from verified import plain

from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.archive import remember
from narrowbench.leaderboard.levels import grant, levels_of
from narrowbench.leaderboard.publish import Vouch, publish
from narrowbench.leaderboard.submit import pack, put
from narrowbench.leaderboard.verify import verify
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.store import sha256_file


def test_levels_are_given_beside_the_records_and_not_to_an_edited_one(honest, place, tmp_path):
    path = place(*plain(honest))
    records = tmp_path / "records"
    grant(records, [honest[0].record_id], "rerun", "a maintainer", "run again")
    assert verify(path).level.level == "rerun" and verify(path).level.ranked
    grant(records, [honest[0].record_id], "regraded", "another", "lower: changes nothing")
    assert levels_of(records)[honest[0].record_id].by == "a maintainer"
    record, rows = plain(honest)
    rows[0]["claim"]["statement"] = "edited"
    assert verify(place(record, rows)).level.level == "self"
    with pytest.raises(RecordError, match="no level 'best'"):
        grant(records, ["x"], "best", "me", "because")
    (records / "levels.json").write_text("[]")
    with pytest.raises(RecordError, match="no file of levels"):
        levels_of(records)


def test_a_submission_cannot_bring_its_own_level(honest, place, tmp_path):
    path = place(*plain(honest))
    folder = put(pack(path), f"folder:{tmp_path}")
    for home in (folder.parent, folder.parents[1], folder):
        grant(home, [honest[0].record_id], "sealed", "me", "please")
        verdict = verify(folder / path.name)
        assert verdict.level.level == "self" and verdict.code == (home == folder), "nothing else may lie in it"


def test_publishing_vouches_only_for_what_is_installed_and_finds_its_logs_again(honest, tmp_path):
    logs, vouch = list(find_logs(honest[2]).values()), Vouch("rerun", "a maintainer", "run here")
    first = publish(logs, tmp_path / "records", tmp_path / "site", vouch)
    assert first.not_raised == () and levels_of(tmp_path / "records")[honest[0].record_id].by == "a maintainer"
    again = publish(logs, tmp_path / "records", tmp_path / "site")
    assert again.reused == first.written and not again.written
    log = read_eval_log(str(logs[0]))
    log.eval.metadata["narrowbench"]["method"]["source_sha256"] = "0" * 64
    write_eval_log(log, str(tmp_path / "other.eval"))
    other = publish([tmp_path / "other.eval"], tmp_path / "records", tmp_path / "site", vouch)
    assert len(other.written) == 1 and "not the one that is installed" in other.not_raised[0][1]
    assert len(levels_of(tmp_path / "records")) == 1
    log.eval.metadata["narrowbench"]["method"]["source_sha256"] = honest[0].method.source_sha256
    log.eval.metadata["narrowbench"]["git"]["dirty"] = True
    write_eval_log(log, str(tmp_path / "dirty.eval"))
    dirty = publish([tmp_path / "dirty.eval"], tmp_path / "records", tmp_path / "site", vouch)
    assert len(dirty.written) == 1 and "not committed. Commit them first" in dirty.not_raised[0][1]
    assert len(levels_of(tmp_path / "records")) == 1


def test_a_note_that_names_another_record_raises_nothing(honest, plain_log, tmp_path):
    [log], records = find_logs(honest[2]).values(), tmp_path / "records"
    other = publish([plain_log], records, tmp_path / "site").written[0]
    remember(records, {sha256_file(log): other.relative_to(records).as_posix()})
    result = publish([log], records, tmp_path / "site", Vouch("rerun", "a maintainer", "run here"))
    assert len(result.written) == 1 and list(levels_of(records)) == [honest[0].record_id]
