"""Folders are walked in one way everywhere: through links, once, without hidden files."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_a2i.config import ImageConfig
from keras_a2i.errors import SourceError
from keras_a2i.media.audio_folder import audio_files
from keras_a2i.media.folder_files import walk_files
from keras_a2i.serving.search import candidates
from keras_a2i.sources.video import find_videos
from keras_a2i.training.pretrain import read_image_folder


@pytest.fixture
def home(tmp_path):
    """A folder with a file of its own, a link to a folder elsewhere, one to a folder below, and two loops."""
    home, far = tmp_path / "home", tmp_path / "far"
    for folder in (home / "below", home / ".hidden", far / "deep"):
        folder.mkdir(parents=True)
    for name in ("b", "below/c", ".d", ".hidden/e", "../far/f", "../far/deep/g"):
        (home / f"{name}.mp4").touch()
        Image.fromarray(np.full((16, 16, 3), ord(name[-1]), np.uint8)).save(home / f"{name}.PNG")
    (home / "notes.txt").touch()
    (home / "folder.mp4").mkdir()
    (home / "again").symlink_to(home / "below", target_is_directory=True)
    (home / "linked").symlink_to(far, target_is_directory=True)
    (home / "loop").symlink_to(home, target_is_directory=True)
    (far / "loop").symlink_to(home, target_is_directory=True)
    (home / "self.mp4").symlink_to("self.mp4")
    (home / "gone.mp4").symlink_to("nothing.mp4")
    return home


def test_links_to_folders_are_followed_after_folders_and_each_is_walked_once(home):
    assert list(walk_files(home, {".mp4"})) == ["b.mp4", "below/c.mp4", "linked/f.mp4", "linked/deep/g.mp4"]
    assert list(walk_files(home, (".png",))) == ["b.PNG", "below/c.PNG", "linked/f.PNG", "linked/deep/g.PNG"]
    assert list(walk_files(home, ())) == []


def test_folder_that_cannot_be_read_is_refused_and_one_below_is_omitted(home, monkeypatch):
    with pytest.raises(SourceError, match=r"^The folder 'gone' can't be read: No such file or directory$"):
        list(walk_files(home / "gone", {".mp4"}))
    scandir = os.scandir

    def refuse(path):
        if path.resolve().name == "below":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(walk_files(home, {".mp4"})) == ["b.mp4", "linked/f.mp4", "linked/deep/g.mp4"]


@pytest.mark.parametrize("find", [find_videos, audio_files, lambda folder: candidates([folder], (".mp4",))])
def test_videos_and_audio_of_linked_folders_are_found(home, find):
    names = [path.relative_to(home).as_posix() for path in find(home)]
    assert names == ["b.mp4", "below/c.mp4", "linked/deep/g.mp4", "linked/f.mp4"]


def test_images_of_linked_folders_are_read(home):
    images = read_image_folder(home, ImageConfig(size=16))
    assert images[:, 0, 0, 0].tolist() == [ord(name) for name in "bcgf"]
