"""Several runs in turn or at once: order, failures, processes that are killed or interrupted, GPUs, time left."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from support.job_work import job, work

from keras_a2i.errors import TrainingInterrupted
from keras_a2i.records.records import Records
from keras_a2i.training import job_queue
from keras_a2i.training.job import describe_failure, training_options
from keras_a2i.training.job_process import environment_of, log_of, visible_gpus
from keras_a2i.training.job_queue import Clock, resumable, run_jobs
from keras_a2i.training.run_folder import RunConfig


def run(records, folder, names, at_once=1, n_before=0):
    """The reasons by name in the order in which runs ended, and what was told."""
    told = []
    jobs = [job(folder, name, records) for name in names]
    clock = Clock(len(jobs) + n_before, at_once)
    clock.skip(n_before)
    results = run_jobs(jobs, work, Records(records), clock=clock, at_once=at_once, tell=told.append)
    return {each.name: reason for each, reason in results}, told


def test_runs_in_turn_go_on_after_a_failure(records, tmp_path):
    reasons, told = run(records, tmp_path, ["a", "fail", "memory", "b"], n_before=2)
    assert reasons == {"a": "", "fail": "The loss must stay finite. Received: nan", "memory": "MemoryError", "b": ""}
    assert told[0] == "a: run 3 of 6"
    assert "working on a with 36 pairs" in told
    assert "fail: failed: The loss must stay finite. Received: nan; 4 of 6 runs done, about 0 s left" in told
    assert told[-1] == "b: done in 0 s; 6 of 6 runs done"
    with pytest.raises(AttributeError, match="a bug"):
        run(records, tmp_path, ["bug"])


def test_the_options_of_a_run_are_those_of_fit_and_xla_is_left_to_the_backend_unless_it_was_chosen():
    options = {"epochs": 3, "batch_size": 4, "monitor": "val_mse", "patience": 2, "restore_best_weights": True}
    config = RunConfig(recipe={}, records="", fingerprint="", **options, data_parts=2, seed=5)
    others = {"dtype_policy": "float32", "image_folder": None, "data_parts": 2}
    assert training_options(config) == options | others | {"jit_compile": None}


@pytest.mark.training
def test_processes_report_failures_kills_and_bugs_in_a_sentence(records, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    names = ["a", "fail", "kill", "bug", "b"]
    reasons, told = run(records, tmp_path, names, at_once=2)
    assert reasons["a"] == reasons["b"] == "" and reasons["fail"] == "The loss must stay finite. Received: nan"
    assert reasons["kill"].startswith("Its process was ended by the signal SIGKILL, perhaps because memory ran out.")
    assert reasons["bug"] == f"Its process ended with the exit status 1: see {tmp_path / 'bug.log'}"
    # Each process sees one GPU; what it writes isn't mixed with that of another, and is kept where it failed.
    assert {(tmp_path / name / "done").read_text() for name in ("a", "b")} <= {"5", "7"}
    assert not any("working" in line for line in told) and not (tmp_path / "a.log").exists()
    assert (tmp_path / "fail.log").read_text() == "working on fail with 36 pairs\n"
    assert "AttributeError: a bug" in (tmp_path / "bug.log").read_text()
    assert sum("done in" in line or "failed:" in line for line in told) == 5


@pytest.mark.training
def test_interrupted_processes_save_and_end(records, tmp_path, monkeypatch):
    jobs = [job(tmp_path, name, records) for name in ("wait1", "wait2", "late")]
    look = job_queue.wait

    def wait_until_both_work(*arguments, **options):
        if all((tmp_path / name / "pid").is_file() for name in ("wait1", "wait2")):
            raise KeyboardInterrupt
        return look(*arguments, **options)

    monkeypatch.setattr(job_queue, "wait", wait_until_both_work)
    with (
        pytest.raises(TrainingInterrupted, match=rf"Stopped\. Finished runs, .* are saved in {tmp_path}\. The same"),
        resumable(tmp_path),
        contextlib.closing(run_jobs(jobs, work, Records(records), clock=Clock(3, 2), at_once=2, tell=print)) as results,
    ):
        list(results)
    assert (tmp_path / "wait1" / "saved").is_file() and (tmp_path / "wait2" / "saved").is_file()
    assert not (tmp_path / "late").exists() and not any(is_running(tmp_path / name) for name in ("wait1", "wait2"))


@pytest.mark.training
def test_process_saves_and_ends_when_its_parent_is_killed(records, tmp_path):
    code = (
        "import sys, pathlib; from support.job_work import job, work; from keras_a2i.records.records import Records\n"
        "from keras_a2i.training.job_queue import Clock, run_jobs\n"
        "jobs = [job(pathlib.Path(sys.argv[2]), f'wait{i}', sys.argv[1]) for i in range(2)]\n"
        "list(run_jobs(jobs, work, Records(sys.argv[1]), clock=Clock(2, 2), at_once=2, tell=print))"
    )
    path = os.pathsep.join(filter(None, sys.path))
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(records), str(tmp_path)], env=os.environ | {"PYTHONPATH": path}
    )
    wait_for(lambda: (tmp_path / "wait1" / "pid").is_file() and (tmp_path / "wait0" / "pid").is_file())
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_running(tmp_path / "wait0") and not is_running(tmp_path / "wait1"))
    assert (tmp_path / "wait0" / "saved").is_file() and (tmp_path / "wait1" / "saved").is_file()


def is_running(folder):
    """Whether the process that a stand-in wrote the number of is there; one that nobody waits for has ended."""
    number = (folder / "pid").read_text()
    return subprocess.run(["ps", "-o", "stat=", "-p", number], capture_output=True, text=True).stdout[:1] not in (
        "",
        "Z",
    )


def wait_for(condition, seconds=120.0):
    latest = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.05)


def test_gpus_are_shared_out_by_place(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-8f,-1")
    assert visible_gpus() == ["0", "GPU-8f"]
    found = [environment_of(slot, 3, visible_gpus()) for slot in range(3)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["0", "GPU-8f", "0"]
    assert {each["TF_FORCE_GPU_ALLOW_GROWTH"] for each in found} == {"true"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == [] and environment_of(0, 2, []) == {}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0\necho 1\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert visible_gpus() == ["0", "1"]


def test_failures_are_those_of_a_run():
    assert describe_failure(RuntimeError("CUDA out of memory.\nmore")) == "RuntimeError: CUDA out of memory."
    assert describe_failure(MemoryError()) == "MemoryError"
    assert describe_failure(TypeError("a bug")) is None and describe_failure(OSError("disk full")) is None


def test_time_left_follows_the_epochs_and_the_places(tmp_path, records, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(job_queue.time, "monotonic", lambda: now[0])
    jobs = [job(tmp_path, name, records, epochs) for name, epochs in (("a", 10), ("b", 20), ("c", 40), ("d", 10))]
    clock = Clock(4, 2)
    clock.add(jobs)
    assert clock.start(jobs[0]) == "run 1 of 4" and clock.start(jobs[1]) == "run 2 of 4"
    now[0] = 10.0
    # A second an epoch: b takes 10 more, after c, which begins now, d waits for b.
    assert clock.finish(jobs[0], "") == "done in 10 s; 1 of 4 runs done, about 40 s left"
    clock.start(jobs[2])
    now[0] = 20.0
    assert clock.finish(jobs[1], "it broke") == "failed: it broke; 2 of 4 runs done, about 30 s left"
    # Of runs that aren't known yet, the mean of those before.
    clock = Clock(3, 1)
    clock.add(jobs[:1])
    clock.start(jobs[0])
    now[0] = 30.0
    assert clock.finish(jobs[0], "") == "done in 10 s; 1 of 3 runs done, about 20 s left"
    assert log_of(jobs[0]) == tmp_path / "a.log"
