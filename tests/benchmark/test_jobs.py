"""The pool on real processes: order, one death costs one job, threads set before libraries load, Ctrl-C ends all."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from narrowbench.benchmark.jobs import Job, Pool, n_cores, run_jobs, train_job
from narrowbench.organisms.spec import load_spec
from narrowbench.organisms.store import Store

WORK = '''
import os, signal, sys, time

def double(x):
    return 2 * x

def refuse(x):
    raise ValueError(f"{x} is not wanted")

def be_killed():
    print("about to go", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def leave(code):
    sys.exit(code)

def about():
    return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"], "numpy": "numpy" in sys.modules}

def meet(folder, name, others):
    """Returns only if all `others` are at work at the same time."""
    open(os.path.join(folder, name), "w").close()
    while not all(os.path.exists(os.path.join(folder, other)) for other in others):
        time.sleep(0.02)
    return name

def unsendable():
    return lambda: 0

def sleep_with_note(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)
'''


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that child processes can import."""
    (tmp_path / "pool_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    import pool_work

    yield pool_work
    del sys.modules["pool_work"]


def test_outcomes_come_back_in_the_order_of_the_jobs(work):
    outcomes = run_jobs([Job(f"j{x}", work.double, {"x": x}) for x in range(7)], workers=3, progress=False)
    assert [outcome.value for outcome in outcomes] == [0, 2, 4, 6, 8, 10, 12]
    assert [outcome.job.name for outcome in outcomes] == [f"j{x}" for x in range(7)]
    assert not any(outcome.error for outcome in outcomes)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_fails_costs_only_itself(work, workers):
    jobs = [Job("a", work.double, {"x": 1}), Job("raises", work.refuse, {"x": 5}), Job("dies", work.be_killed),
            Job("leaves", work.leave, {"code": 3}), Job("answer", work.unsendable),
            Job("question", lambda: 0), Job("z", work.double, {"x": 2})]
    outcomes = {outcome.job.name: outcome for outcome in run_jobs(jobs, workers, progress=False)}
    assert outcomes["a"].value == 2 and outcomes["z"].value == 4
    assert outcomes["raises"].error == "ValueError: 5 is not wanted" and "refuse" in outcomes["raises"].details
    assert "SIGKILL" in outcomes["dies"].error and "--workers" in outcomes["dies"].error
    assert "about to go" in outcomes["dies"].details
    assert "exit code 3" in outcomes["leaves"].error
    assert "pickle" in outcomes["answer"].error and "module-level" in outcomes["question"].error
    assert list(outcomes) == [job.name for job in jobs]


def test_jobs_run_at_the_same_time(work, tmp_path):
    names = ["one", "two", "three"]
    jobs = [Job(name, work.meet, {"folder": str(tmp_path), "name": name, "others": names}) for name in names]
    assert [outcome.value for outcome in run_jobs(jobs, workers=3, progress=False)] == names


def test_workers_live_on_are_replaced_and_get_their_share_of_the_cores(work):
    before = os.environ.get("OMP_NUM_THREADS")
    jobs = [Job(str(i), work.about) for i in range(5)]
    told = [outcome.value for outcome in run_jobs(jobs, workers=1, progress=False, jobs_per_worker=2)]
    pids = [one["pid"] for one in told]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] and os.getpid() not in pids
    assert {one["threads"] for one in told} == {str(n_cores())}
    assert not told[0]["numpy"], "numpy was loaded before the number of threads could matter"
    assert os.environ.get("OMP_NUM_THREADS") == before
    told = run_jobs(jobs[:2], workers=2 * n_cores(), progress=False)
    assert {outcome.value["threads"] for outcome in told} == {str(max(1, n_cores() // 2))}


def test_a_pool_keeps_its_workers_for_the_next_jobs_and_replaces_dead_ones(work):
    jobs = [Job(str(i), work.about) for i in range(2)]
    with Pool(1) as pool:
        first, second = ({outcome.value["pid"] for outcome in pool.run(jobs, progress=False)} for _ in range(2))
        assert first == second and len(first) == 1
        [pid] = first
        os.kill(pid, signal.SIGKILL)
        pool._idle[0].process.join()
        [other, _] = pool.run(jobs, progress=False)
        assert not other.error and other.value["pid"] != pid
        [spent, last] = pool.run(jobs, progress=False, jobs_per_worker=3)
        assert spent.value["pid"] == other.value["pid"] != last.value["pid"]
        left = [worker.process for worker in pool._idle]
    assert left and not any(process.is_alive() for process in left)


def test_a_started_pool_imports_before_there_is_a_job_and_ends_without_one(work):
    with Pool(2, imports=("numpy",)) as pool:
        pool.start()
        workers = [worker.process for worker in pool._idle]
        assert len(workers) == 2 and all(process.is_alive() for process in workers)
        outcomes = pool.run([Job("one", work.about)], progress=False)
        assert outcomes[0].value["numpy"] and outcomes[0].value["pid"] in [process.pid for process in workers]
    assert not any(process.is_alive() for process in workers)
    with Pool(1, imports=("no_such_module",)) as pool:
        [outcome] = pool.run([Job("one", work.about)], progress=False)
    assert "exit code 1" in outcome.error and "no_such_module" in outcome.details


def test_no_jobs_and_no_workers(work):
    assert run_jobs([], workers=2, progress=False) == []
    with pytest.raises(ValueError, match="at least 1"):
        run_jobs([Job("a", work.double, {"x": 1})], workers=0)


def test_progress_names_what_failed_on_stderr(work, capfd):
    run_jobs([Job("a", work.double, {"x": 1}), Job("bad [cell]", work.refuse, {"x": 5})], workers=1)
    out, err = capfd.readouterr()
    assert out == "" and "failed bad [cell]: ValueError: 5 is not wanted" in err and "2/2" in err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_program(work, tmp_path, how):
    """By Ctrl-C, which the program catches, and by a kill that it cannot catch."""
    folder = tmp_path / "at_work"
    folder.mkdir()
    script = tmp_path / "program.py"
    # A program that a shell started in the background ignores Ctrl-C, and so would ours if the tests run there.
    script.write_text("import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
                      f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport pool_work\n"
                      "from narrowbench.benchmark.jobs import Job, run_jobs\nif __name__ == '__main__':\n"
                      f"    run_jobs([Job(str(i), pool_work.sleep_with_note, {{'folder': {str(folder)!r}}})"
                      " for i in range(4)], workers=2, progress=False)\n")
    program = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: len(list(folder.iterdir())) == 2, "two workers at work")
    if how is signal.SIGINT:
        os.killpg(program.pid, how)  # as a terminal does: to the workers too
    else:
        program.kill()
    err = program.communicate(timeout=60)[1]
    assert program.returncode != 0
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in err
    pids = [int(path.name) for path in folder.iterdir()]
    wait_until(lambda: not any(map(runs, pids)), "the workers gone")
    assert len(list(folder.iterdir())) == 2, "a further job was started"


def wait_until(true, what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = f"/proc/{pid}/stat"
    return not os.path.exists(status) or open(status).read().rpartition(")")[2].split()[0] != "Z"


def test_training_as_a_job_stores_the_organism(tiny_suite, tiny_base, tmp_path):
    spec = load_spec(tiny_suite.parent / "cake.yaml")
    kwargs = {"spec_json": spec.model_dump_json(), "base": str(tiny_base), "seed": 3, "home": str(tmp_path)}
    broken = kwargs | {"base": str(tmp_path / "nowhere")}
    good, bad = run_jobs([Job("my-cake", train_job, kwargs), Job("no base", train_job, broken)], 2, progress=False)
    assert good.error == "" and "nowhere" in bad.error
    passport = Store(tmp_path).find("organism", good.value).path / "passport.json"
    assert json.loads(passport.read_text())["seed"] == 3
