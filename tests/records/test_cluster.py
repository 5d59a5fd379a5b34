"""Building on a cluster: what is checked and which errors are raised. The builds are in test_cluster_builds.py."""

import pickle
import socket
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.tone_source import FEATURES, IMAGE, ToneSource, build

from keras_a2i.cli.build_records import command
from keras_a2i.errors import ClusterError, MissingPackageError, UsageError
from keras_a2i.records import cluster
from keras_a2i.records.cluster_worker import check_worker, compared_versions, describe_differences, mark_path
from keras_a2i.records.task import Task
from keras_a2i.version import __version__


@pytest.mark.parametrize("address", ["host", "tcp://host", "http://host:8787", "tcp://host:99999", "tcp://:8786", ""])
def test_scheduler_must_be_an_address(tmp_path, address):
    with pytest.raises(UsageError, match=r"scheduler must be the address of a Dask scheduler, such as tcp://host:8786"):
        build(tmp_path / "out", workers=None, scheduler=address)
    assert not (tmp_path / "out").exists()


def test_scheduler_excludes_workers_and_executor(tmp_path):
    with pytest.raises(UsageError, match=r"scheduler must be given without workers and executor.*workers=2"):
        build(tmp_path / "out", workers=2, scheduler="tcp://127.0.0.1:1")
    options = ("--out", tmp_path / "out", "--channels", 3, "--workers", 2, "--scheduler", "tcp://127.0.0.1:1")
    result = CliRunner().invoke(command, ["synthetic:surf:4", *map(str, options)])
    assert isinstance(result.exception, UsageError) and "On the command line: --scheduler" in str(result.exception)


def test_scheduler_needs_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        MissingPackageError, match=r'Dask cluster needs the package distributed.*"keras-a2i\[cluster\]"'
    ):
        build(tmp_path / "out", workers=None, scheduler="tcp://127.0.0.1:1")


def test_versions_that_are_compared_are_those_that_decide_the_bytes():
    versions = compared_versions()
    assert {"keras-a2i", "numpy", "pillow", "soundfile", "soxr", "zlib"} <= set(versions)
    assert versions["keras-a2i"] == __version__
    assert versions["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_differences_of_versions_are_named():
    here = {"python": "3.12", "keras-a2i": "0.2.0", "av": "15.0"}
    assert describe_differences(here, here) == ""
    assert describe_differences(here | {"keras-a2i": "0.1.0"}, here) == "with keras-a2i 0.1.0 (here 0.2.0)"
    lacking = {"python": "3.11", "keras-a2i": "0.2.0", "soxr": "1.0"}
    expected = "with python 3.11 (here 3.12) and without av (here 15.0) and with soxr 1.0 (not installed here)"
    assert describe_differences(lacking, here) == expected


def test_progress_counts_a_task_that_starts_again_once():
    totals = [0, 0]

    def tally(done, dropped):
        totals[0] += done
        totals[1] += dropped

    progress = cluster._Progress(tally)
    progress.receive((0.0, (0, 32, 1)))
    progress.receive((0.0, (1, 10, 0)))
    progress.poll()
    assert totals == [42, 1]
    progress.receive((0.0, (0, 8, 0)))
    progress.poll()
    assert totals == [18, 0]
    progress.finish(0, {"shards": {"train": {"count": 40}, "val": {"count": 5}}, "dropped": [["a", "b"]]})
    progress.receive((0.0, (0, 44, 0)))
    progress.poll()
    assert totals == [55, 1]


class TestWorker:
    """`check_worker` in this process."""

    @pytest.fixture(autouse=True)
    def _needs_dask(self):
        pytest.importorskip("distributed", reason="distributed (extra cluster) isn't installed")

    def test_worker_that_shares_the_folder_leaves_a_file_there(self, tmp_path):
        mark_path(tmp_path, "build").touch()
        trouble, written = check_worker(tmp_path, "build", [str(tmp_path)], pickle.dumps([ToneSource()]))
        assert trouble == "" and (tmp_path / written).is_file()

    def test_worker_without_the_input_or_the_folder_is_found(self, tmp_path):
        sources, other = pickle.dumps([]), tmp_path / "other"
        other.mkdir()
        mark_path(tmp_path, "build").touch()
        missing = str(tmp_path / "a.mp4")
        assert check_worker(tmp_path, "build", [missing], sources) == (f"which can't read {missing}", "")
        assert check_worker(other, "build", [], sources) == (f"which can't read {other}", "")

    def test_worker_that_lacks_a_module_of_a_source_is_found(self, tmp_path):
        # The pickle of nosuchmodule.Source.
        trouble, _ = check_worker(tmp_path, "build", [], b"cnosuchmodule\nSource\n.")
        assert trouble == "which can't load the sources (No module named 'nosuchmodule')"


class TestUnreachable:
    """Addresses at which no scheduler answers."""

    @pytest.fixture(autouse=True)
    def _answers_soon(self, monkeypatch):
        pytest.importorskip("distributed", reason="distributed (extra cluster) isn't installed")
        monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1.0)

    @pytest.mark.training
    def test_closed_port_is_one_sentence(self, tmp_path):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(
            ClusterError, match=rf"must be a Dask scheduler that answers within 1 s. Received: {address}"
        ):
            build(tmp_path / "out", workers=None, scheduler=address)
        assert not (tmp_path / "out").exists()

    @pytest.mark.training
    def test_server_that_sends_nothing_is_not_waited_for(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ClusterError, match=r"answers within 1 s. Received: .*Start one with: dask scheduler"):
                build(tmp_path / "out", workers=None, scheduler=address)


class _Future:
    """A future that is done."""

    def __init__(self, error):
        self.error = error

    def result(self, timeout):
        raise self.error


class TestFinishing:
    """What becomes of the exceptions that Dask raises for a task."""

    @pytest.fixture
    def finish(self, tmp_path):
        distributed = pytest.importorskip("distributed", reason="distributed (extra cluster) isn't installed")
        (unit,) = ToneSource(n_sources=1).plan().units
        options = {"features": FEATURES, "image": IMAGE, "waveform": True, "strict": False}
        task = Task(index=0, folder=tmp_path, parts=((ToneSource(), unit),), splits=(np.zeros(12, np.int8),), **options)
        return lambda error: cluster.Cluster(None, "tcp://host:8786")._finish(task, _Future(error(distributed)))

    def test_workers_killed_one_after_another_are_blamed_on_what_they_read(self, finish):
        with pytest.raises(ClusterError, match=r"workers that read tone0 ended one after another, perhaps because mem"):
            finish(lambda distributed: distributed.KilledWorker("key", None, 3))

    def test_worker_lost_before_it_tells_its_result_is_waited_for(self, finish):
        assert finish(lambda _: TimeoutError()) is None

    def test_cancelled_task_means_a_lost_scheduler(self, finish):
        with pytest.raises(
            ClusterError, match=r"The Dask scheduler tcp://host:8786 was lost. Finished shards are kept"
        ):
            finish(lambda distributed: distributed.CancelledError("key"))

    def test_late_worker_without_the_library_is_one_sentence(self, finish):
        with pytest.raises(ClusterError, match=r"must be able to import .* Received: one without keras_a2i. Install"):
            finish(lambda _: ModuleNotFoundError("No module named 'keras_a2i'", name="keras_a2i"))


class _Client:
    """A client of a cluster of one worker that answers what a test wants."""

    def __init__(self, answer, scheduler=None, waiting=None):
        self.answer, self.scheduler, self.waiting = answer, scheduler, waiting

    def wait_for_workers(self, n_workers, timeout):
        if self.waiting is not None:
            raise self.waiting

    def run(self, function, *arguments, **options):
        if isinstance(self.answer, TimeoutError):
            raise self.answer
        return {"tcp://a:1": self.answer}

    def run_on_scheduler(self, function, **options):
        if self.scheduler is not None:
            raise self.scheduler
        return function()


class TestChecking:
    """The checks at the start, on clusters that lack something."""

    @pytest.mark.parametrize(
        ("client", "message"),
        [
            (
                _Client(ModuleNotFoundError("keras_a2i")),
                rf"Received: the worker tcp://a:1 without this version of keras-a2i \(here {__version__}\)",
            ),
            (
                _Client(compared_versions(), ModuleNotFoundError("keras_a2i")),
                r"Received: the scheduler tcp://host:8786 without this version of keras-a2i",
            ),
            (
                _Client(compared_versions() | {"av": "0.1"}, ModuleNotFoundError("keras_a2i")),
                r"Received: the worker tcp://a:1 with av 0.1 \(.*\), and 1 more. Install the same",
            ),
            (_Client(TimeoutError()), r"Every worker of tcp://host:8786 must answer within 60 s. Received: no answer"),
            (_Client(compared_versions(), OSError()), r"The Dask scheduler tcp://host:8786 was lost"),
            (
                _Client(None, waiting=OSError("Timed out trying to connect to tcp://host:8786 after 10 s")),
                r"The Dask scheduler tcp://host:8786 was lost. Finished shards are kept: run the same build again",
            ),
            (
                _Client(None, waiting=TimeoutError()),
                r"must have a worker. Received: none for 60 s. .*Finished shards are kept",
            ),
        ],
    )
    def test_cluster_that_doesn_t_fit_is_refused(self, client, message):
        with pytest.raises(ClusterError, match=message):
            cluster.Cluster(client, "tcp://host:8786").check_versions()

    def test_cluster_that_fits_is_accepted(self):
        # A worker that is lost while it is asked answers with an error of the connection.
        for answer in (compared_versions(), OSError()):
            assert cluster.Cluster(_Client(answer), "tcp://host:8786").check_versions() is None

    def test_worker_whose_files_do_not_arrive_is_named(self, tmp_path):
        pytest.importorskip("distributed", reason="distributed (extra cluster) isn't installed")
        with pytest.raises(
            ClusterError, match=r"the worker tcp://a:1, whose files don't arrive in .*Share both folders"
        ):
            cluster.Cluster(_Client(("", "b.tmp")), "tcp://host:8786")._check_folders(tmp_path, "b", [])
