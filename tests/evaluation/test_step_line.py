"""Steps of an evaluation: one line that is overwritten, a line each, or none."""

import io

import pytest

from keras_a2i.evaluation.step_line import StepLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(monkeypatch, verbose, stream):
    monkeypatch.setattr("sys.stdout", stream)
    line = StepLine(verbose)
    for step in ("reading", "to b"):
        line(step)
    line.close("evaluated 2 pairs")
    return stream.getvalue()


@pytest.mark.parametrize("verbose", ["auto", 1])
def test_line_on_a_terminal_is_overwritten_to_its_end(monkeypatch, verbose):
    shown = show(monkeypatch, verbose, Terminal())
    assert shown == "\rreading ...\rto b ...   \revaluated 2 pairs in 0 s\n"


@pytest.mark.parametrize(("verbose", "stream"), [(2, Terminal()), (1, io.StringIO()), ("auto", io.StringIO())])
def test_steps_in_a_log_are_lines(monkeypatch, verbose, stream):
    assert show(monkeypatch, verbose, stream) == "reading ...\nto b ...\nevaluated 2 pairs in 0 s\n"


def test_nothing_is_shown_without_verbose(monkeypatch):
    assert show(monkeypatch, 0, Terminal()) == ""
