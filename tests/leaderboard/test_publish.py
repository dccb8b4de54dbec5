"""Publishing: what fails is named and kept, what is not comparable is not ranked, and torch is never needed."""

import subprocess
import sys

from narrowbench.leaderboard.publish import publish


def test_a_log_that_fails_is_named_and_the_others_go_on(plain_log, tmp_path):
    short = tmp_path / "short.eval"
    short.write_bytes(plain_log.read_bytes()[:500])
    result = publish([short, plain_log, tmp_path / "gone.eval"], tmp_path / "records", tmp_path / "site")
    assert result.page.is_file() and len(result.written) == 1
    assert [path.name for path, _ in result.skipped] == ["short.eval", "gone.eval"]
    assert "damaged" in result.skipped[0][1] and short.is_file()
    nothing = publish([short], tmp_path / "empty", tmp_path / "no-site")
    assert nothing.page is None and nothing.skipped and not (tmp_path / "no-site").exists()


def test_a_damaged_record_is_left_out_by_name_and_kept(plain_log, demo_logs, tmp_path):
    first = publish([plain_log], tmp_path / "records", tmp_path / "site").written[0]
    first.write_text(first.read_text().replace("adl_logit_lens", "adl_logit_lexs"))
    result = publish(demo_logs[:1], tmp_path / "records", tmp_path / "site")
    assert [path for path, _ in result.left_out] == [first] and first.is_file()
    assert first.name in result.page.read_text()


def test_what_is_not_expressed_or_broken_is_shown_and_never_counted(make, read_page, tmp_path):
    organisms = [make.organism("a"), make.organism("b", expressed=False), make.organism("c", healthy=False)]
    claims = {"a": make.said(), "b": make.said(domain=-1.0), "c": make.said(domain=-1.0)}
    result = publish([make.log(tmp_path, organisms, claims)], tmp_path / "records", tmp_path / "site")
    assert read_page(result.page).ranking[0][2] == "1.00" and "1 unit" in read_page(result.page).text
    pages = "".join(read_page(path).text for path in (tmp_path / "site" / "organisms").iterdir())
    assert "not expressed: never counted" in pages and "broken: never counted" in pages
    assert "n/a (needs trained nulls)" in read_page(result.page).ranking[0]


def test_evidence_seeds_are_averaged_and_an_older_record_gives_way_to_the_newest(make, read_page, tmp_path):
    organisms = [make.organism("a")]
    scores = ((0, 1.0), (0, 0.4), (1, 0.0))
    logs = [make.log(tmp_path, organisms, {"a": make.said(domain=d, objective=d, content=d)}, evidence_seed=seed)
            for seed, d in scores]
    result = publish(logs, tmp_path / "records", tmp_path / "site")
    assert len(result.written) == 3 and read_page(result.page).ranking[0][2] == "0.20"
    assert "1 older record of the same methods" in read_page(result.page).text


def test_nobody_is_ranked_when_the_oracle_fails(make, read_page, tmp_path):
    organisms, claims = [make.organism("a"), make.organism("b")], {"a": make.said(), "b": make.said(content=0.2)}
    logs = [make.log(tmp_path, organisms, claims, "oracle", "ceiling"), make.log(tmp_path, organisms, claims)]
    result = publish(logs, tmp_path / "records", tmp_path / "site")
    assert [row[0] for row in read_page(result.page).ranking] == ["-", "-"]
    assert "The instrument check failed, so no method is ranked." in read_page(result.page).text


def test_an_incomplete_row_is_not_ranked_and_suites_never_share_a_table(make, read_page, tmp_path):
    organisms, claims = [make.organism("a"), make.organism("b")], {"a": make.said(), "b": make.said(domain=0.5)}
    logs = [make.log(tmp_path, organisms[:1], claims, "partial"), make.log(tmp_path, organisms, claims, "whole"),
            make.log(tmp_path, organisms, claims, "elsewhere", suite="other")]
    result = publish(logs, tmp_path / "records", tmp_path / "site")
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert [row[1].split()[0] for row in read_page(result.page).ranking] == ["elsewhere"] and len(pages) == 2
    rows = read_page(next(page for page in pages if page != result.page)).ranking
    assert [row[:2] for row in rows] == [["-", "whole"], ["-", "partial incomplete: 1 of 2 organisms"]]


def test_the_room_never_imports_torch(plain_log, tmp_path):
    code = ("import sys; from pathlib import Path; here = Path.cwd()\n"
            "from narrowbench.leaderboard.publish import publish\n"
            f"done = publish([Path({str(plain_log)!r})], here / 'r', here / 's')\n"
            "assert done.page.is_file() and not done.skipped, done\n"
            "print('torch' in sys.modules, 'transformers' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "False"]
