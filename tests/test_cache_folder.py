"""The folder of what can be fetched or computed again."""

import pathlib

from keras_a2i.cache_folder import CACHE_VARIABLE, cache_folder


def test_cache_folder_is_the_variable_s_or_the_user_s(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named" and "Delete what you like" in (tmp_path / "named/README").read_text()
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "keras-a2i"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pathlib.Path, "expanduser", lambda path: tmp_path / str(path).removeprefix("~/"))
    assert cache_folder() == tmp_path / ".cache" / "keras-a2i"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "keras-a2i"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "~/Local")
    assert cache_folder() == tmp_path / "Local" / "keras-a2i"
