"""What commands print of damaged audio."""

import warnings

import pytest
from click.testing import CliRunner
from support.tone_source import ToneSource, build

from keras_a2i.cli.damaged_audio import damage_shown
from keras_a2i.cli.main import cli
from keras_a2i.errors import SourceError, UsageError
from keras_a2i.media.audio import DamagedAudioWarning
from keras_a2i.records.splits import SplitSpec


def _damaged(*_, **__):
    warnings.warn("a.wav breaks off at 0.2 s", DamagedAudioWarning, stacklevel=1)
    raise UsageError("stopped")


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        (["search", "run", "a.wav", "."], "keras_a2i.serving.search.search"),
        (["evaluate", "run", "rec", "--foreign", "."], "keras_a2i.evaluation.evaluate.evaluate"),
    ],
)
def test_commands_tell_of_damaged_audio_in_a_sentence(arguments, function, tmp_path, monkeypatch):
    build(tmp_path / "rec", ToneSource(n_sources=1), split=SplitSpec(kind="block", guard=0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(function, _damaged)
    result = CliRunner().invoke(cli, arguments)
    assert str(result.exception) == "stopped"
    assert result.output == "damaged, but used: a.wav breaks off at 0.2 s\n"


def test_other_warnings_are_shown_as_ever(capsys):
    with pytest.warns(UserWarning, match="another"), damage_shown():
        warnings.warn("another", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_strict_command_stops_at_damaged_audio():
    message = r"a.wav breaks off at 0.2 s. The command stops at it \(--strict\)"
    with pytest.raises(SourceError, match=message), damage_shown(strict=True):
        _damaged()
