"""Addresses are told from paths in one place, whoever made a `pathlib.Path` of them."""

import pathlib

import pytest

from keras_a2i.errors import UsageError
from keras_a2i.remote.address import Address, as_location, common_folder, local_path, relative_name


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/runs/a", "s3://bucket/runs/a"),
        ("s3://bucket/runs/a/", "s3://bucket/runs/a"),
        ("S3://Bucket/A", "s3://Bucket/A"),
        ("s3://bucket", "s3://bucket"),
        ("gs://bucket/a b/ü.mp4", "gs://bucket/a b/ü.mp4"),
        ("hf://datasets/user/name/a.csv", "hf://datasets/user/name/a.csv"),
        (pathlib.PurePosixPath("s3://bucket/runs/a"), "s3://bucket/runs/a"),
        (pathlib.PureWindowsPath("s3://bucket/runs/a"), "s3://bucket/runs/a"),
        (Address("s3", "bucket/a"), "s3://bucket/a"),
    ],
)
def test_address_is_recognised_as_text_and_as_the_path_that_lost_a_slash(given, address):
    found = as_location(given)
    assert isinstance(found, Address) and str(found) == address


@pytest.mark.parametrize(
    "given",
    ["runs/a", "/data/records", ".", "synthetic:surf", "kaggle:scenes", "C:/data", r"C:\data", "https://host/a.mp4"],
)
def test_everything_else_is_a_path(given):
    assert as_location(given) == pathlib.Path(given)


def test_file_address_is_a_path():
    assert as_location("file:///data/a%20b") == pathlib.Path("/data/a b")


@pytest.mark.parametrize("given", ["s3://", "s3:///", "s3://bucket/../other", "s3://bucket/./a"])
def test_address_without_a_bucket_or_with_dots_is_refused(given):
    with pytest.raises(UsageError, match=r"An address must name a bucket and its parts, as in s3://bucket/folder\."):
        as_location(given)


def test_address_joins_and_names_as_a_path_does():
    file = Address("s3", "bucket") / "videos" / "beach.tar.mp4"
    assert str(file) == "s3://bucket/videos/beach.tar.mp4"
    assert (file.name, file.stem, file.suffix, str(file.parent)) == (
        "beach.tar.mp4",
        "beach.tar",
        ".mp4",
        "s3://bucket/videos",
    )
    assert str(file.with_name("b.csv")) == "s3://bucket/videos/b.csv" and file.bucket == "s3://bucket"
    assert Address("s3", "bucket").parent == Address("s3", "bucket")


def test_address_is_no_path_of_the_disk():
    with pytest.raises(TypeError):
        pathlib.Path(Address("s3", "bucket/a"))
    message = r"out must be a path on the disk\. Received: s3://bucket/a\. Choose a local path and copy it"
    with pytest.raises(UsageError, match=message):
        local_path("s3://bucket/a", "out")
    assert local_path("a/b", "out") == pathlib.Path("a/b")


def test_names_are_relative_to_a_folder_of_the_same_kind():
    folder = Address("s3", "bucket/videos")
    assert relative_name(Address("s3", "bucket/videos/x/a.mp4"), folder) == "x/a.mp4"
    assert relative_name(Address("s3", "bucket/videos2/a.mp4"), folder) is None
    assert relative_name(Address("gs", "bucket/videos/a.mp4"), folder) is None
    assert relative_name(pathlib.Path("/data/x/a.mp4"), pathlib.Path("/data")) == "x/a.mp4"
    assert relative_name(pathlib.Path("/data/a.mp4"), folder) is None
    assert relative_name(Address("s3", "bucket/a.mp4"), pathlib.Path("/data")) is None


def test_common_folder_is_the_deepest_of_all():
    assert common_folder([Address("s3", "b/x/y"), Address("s3", "b/x/z")]) == Address("s3", "b/x")
    assert common_folder([pathlib.Path("/b/x/y"), pathlib.Path("/b/x")]) == pathlib.Path("/b/x")
