"""Search across audio and images, with a stand-in for a run that aligned both by their loudness."""

import numpy as np
import pytest
import soundfile
from PIL import Image
from support.loudness_model import Loudness

from keras_a2i.errors import ModelError, SourceError, UsageError
from keras_a2i.serving.search import Searcher, load_searcher, search


class ImageEncoder:
    def predict_on_batch(self, images):
        return np.stack([images.mean(axis=(1, 2, 3)) + 1, np.ones(len(images))], axis=1)


class TwoLoudness(Loudness):
    """Loudness with a constant beside it: a direction in a plane."""

    def measure(self, clips):
        loudness = super().measure(clips)
        return np.concatenate([2 * loudness, np.ones_like(loudness)], axis=1)


@pytest.fixture
def searcher():
    return Searcher(TwoLoudness(), ImageEncoder())


@pytest.fixture
def files(tmp_path):
    """Audio of three loudnesses and images of the brightnesses that go with them."""
    for i, level in enumerate((0.1, 0.5, 0.9)):
        samples = np.zeros(2_400)
        samples[800:] = level
        soundfile.write(tmp_path / f"{i}.wav", samples, 16_000, subtype="FLOAT")
        Image.fromarray(np.full((32, 32, 3), round(255 * level), np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_search_finds_images_for_audio_and_audio_for_images(searcher, files):
    (files / "broken.png").write_bytes(b"no image")
    result = search(searcher, files / "2.wav", [files], top=2)
    assert len(result.matches) == 2 and len(result.skipped) == 1 and "broken.png" in result.skipped[0]
    assert result.matches[0].similarity >= result.matches[1].similarity
    for i in range(3):
        best = search(searcher, files / f"{i}.png", [files / f"{j}.wav" for j in range(3)]).matches
        assert len(best) == 3 and best[0].path.stem == f"{i}"
        # The first clip is silent: the second one is the best.
        assert best[0].time == pytest.approx(0.05) and best[0].similarity == pytest.approx(1, abs=1e-4)


def test_search_sheet_shows_images_upright(searcher, files):
    """A phone's image is stored lying, with a note of its orientation: white above when it is upright."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(files / "phone.jpg", exif=exif, quality=95)
    result = search(searcher, files / "1.wav", [files / "phone.jpg"], sheet=files / "new" / "sheet.png")
    sheet = np.asarray(Image.open(files / "new" / "sheet.png").convert("L"), int)
    cell = sheet[-132:-4, 4:132]
    assert cell[:32].mean() > 240 and cell[-32:].mean() < 15
    expected = np.zeros((16, 16, 3), np.float32) - 1
    expected[:8] = 1
    query = searcher.embed_inputs(np.concatenate(list(searcher.predictor.stream_inputs(files / "1.wav"))))
    mean = query.mean(axis=0) / np.linalg.norm(query.mean(axis=0))
    assert result.matches[0].similarity == pytest.approx(
        float(searcher.embed_images(expected[None])[0] @ mean), abs=1e-3
    )


@pytest.mark.parametrize("top", [0, -1])
def test_search_for_no_match_is_refused_before_the_run_is_loaded(top):
    with pytest.raises(UsageError, match=rf"top must be None .all matches., or 1 or more\. Received: top={top}"):
        search("nowhere", "a.wav", ["photos"], top=top)


def test_sheet_that_would_replace_a_file_is_refused_before_the_search(files):
    """The run doesn't exist: it isn't loaded."""
    before = (files / "1.png").read_bytes()
    arguments = ("nowhere", files / "1.wav", [files / "1.png"])
    for overwrite in (False, True):
        with pytest.raises(
            UsageError, match=r"sheet must not be one of the files that are searched\. Received: .*1\.png"
        ):
            search(*arguments, sheet=files / "1.png", overwrite=overwrite)
    with pytest.raises(
        UsageError, match=r"sheet must not exist\. Received: .*2\.png\. Choose another, or pass overwrite"
    ):
        search(*arguments, sheet=files / "2.png")
    with pytest.raises(UsageError, match=r"sheet must end in \.png\. Received: .*s\.jpg"):
        search(*arguments, sheet=files / "s.jpg", overwrite=True)
    assert (files / "1.png").read_bytes() == before and not (files / "s.jpg").exists()


def test_sheet_replaces_another_file_on_request(searcher, files):
    before = (files / "2.png").read_bytes()
    search(searcher, files / "1.wav", [files / "1.png"], sheet=files / "2.png", overwrite=True)
    assert (files / "2.png").read_bytes() != before


def test_search_that_is_impossible_is_refused(searcher, files):
    with pytest.raises(SourceError, match=r"query must be a .wav, .* file. Received: .*none.wav, which doesn't exist"):
        search(searcher, files / "none.wav", [files])
    for name in ("none.png", "nowhere"):
        with pytest.raises(SourceError, match=rf"among must hold existing files .* Received: .*{name}, which doesn't"):
            search(searcher, files / "1.wav", [files, files / name])
    (files / "text.txt").write_text("no audio")
    with pytest.raises(UsageError, match=r"query must be a .* file. Received: .*text.txt$"):
        search(searcher, files / "text.txt", [files])
    with pytest.raises(UsageError, match=r"sheet must be left out where the query is an image"):
        search(searcher, files / "1.png", [files], sheet=files / "s.png")
    with pytest.raises(UsageError, match=r"among must hold at least one .png, .jpg, .jpeg file .* Received: none"):
        search(searcher, files / "1.wav", [files / "1.wav"])
    (files / "broken.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"among must hold a file that can be read. Received: 1 files. broken.png"):
        search(searcher, files / "1.wav", [files / "broken.png"])
    with pytest.raises(SourceError, match=r"broken.png"):
        search(searcher, files / "broken.png", [files])
    with pytest.raises(
        ModelError, match=r"run must be a run folder whose training aligned .* Received: .*which doesn't"
    ):
        load_searcher(files / "nowhere")
