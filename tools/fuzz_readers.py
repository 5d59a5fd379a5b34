"""What `fuzz.py` mutates: small files of every kind that the library reads, how they change, and what reads them."""

import collections
import dataclasses
import json
import pathlib
import random
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

_EXTREMES = [
    *(b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f"),
    *(b"\x80" + b"\0" * 7, b"\0" * 7 + b"\x80"),
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Changes a file in one to four places: bits, bytes, extreme numbers, blocks removed, doubled, moved or cut off."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, length = rng.randrange(len(found) + 1), rng.choice((1, 2, 4, 8, 64, 1024))
        match rng.randrange(9):
            case 0:
                del found[at:]
            case 1:
                del found[at : at + length]
            case 2:
                found[at:at] = found[at : at + length]
            case 3:
                found[at:at] = rng.randbytes(length)
            case 4:
                found[at : at + length] = bytes(min(length, len(found) - at))
            case 5:
                size = rng.choice((1, 2, 4, 8))
                found[at : at + size] = rng.choice(_EXTREMES)[: min(size, len(found) - at)]
            case 6:
                other = rng.randrange(len(found) + 1)
                found[at : at + length] = found[other : other + length]
            case _:
                for _ in range(rng.choice((1, 1, 8))):
                    if found:
                        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Changes a value of a JSON file to one of another type, or the bytes of any file."""
    try:
        values = json.loads(data)
    except ValueError:
        return mutate(data, rng)
    if rng.random() < 0.3 or not isinstance(values, dict):
        return mutate(data, rng)
    places = list(_places(values))
    container, key = rng.choice(places)
    others = (None, True, -1, 0, 10**30, 1.5, float("nan"), "", "x" * 1000, "../../x", [], {}, [[]], {"a": None})
    if rng.random() < 0.2:
        del container[key]
    else:
        container[key] = rng.choice(others)
    return json.dumps(values).encode()


def _places(values: object) -> Iterator[tuple]:
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in list(items):
        yield values, key
        yield from _places(value)


@dataclasses.dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Attributes:
        make: writes the whole file, and what it needs beside it, into a folder; returns the file.
        read: reads the file.
        change: mutates its bytes.
        weight: its share of the files; less for slow ones.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path], object]
    change: Callable[[bytes, random.Random], bytes] = mutate
    weight: float = 1.0


def _tone(seconds: float, rate: int) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def _sound(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        import soundfile

        soundfile.write(folder / f"a.{suffix}", _tone(1.2, 16_000), 16_000)
        return folder / f"a.{suffix}"

    return make


def _film(suffix: str, video_codec: str, audio_codec: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        import av

        path, rng = folder / f"a.{suffix}", np.random.default_rng(0)
        with av.open(str(path), "w") as out:
            audio = out.add_stream(audio_codec, rate=16_000, layout="mono")
            kind = audio.codec_context.format.name
            if video_codec:
                video = out.add_stream(video_codec, rate=10)
                video.width = video.height = 32
                video.pix_fmt = "yuv420p"
                for _ in range(25):
                    frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8), "rgb24")
                    out.mux(video.encode(frame))
                out.mux(video.encode(None))
            block = _tone(2.5, 16_000).astype(np.float32)
            for start in range(0, len(block), 1024):
                frame = av.AudioFrame.from_ndarray(block[None, start : start + 1024], format="flt", layout="mono")
                frame.sample_rate, frame.pts = 16_000, start
                for converted in av.AudioResampler(kind, "mono", 16_000).resample(frame):
                    converted.pts = start
                    out.mux(audio.encode(converted))
            out.mux(audio.encode(None))
        return path

    return make


def _read_sound(path: pathlib.Path) -> None:
    from keras_a2i.media.audio import stream_audio

    collections.deque(stream_audio(path, 16_000), maxlen=0)


def _read_film(path: pathlib.Path) -> None:
    from keras_a2i.config import FeatureConfig, ImageConfig
    from keras_a2i.sources.video import VideoSource

    source = VideoSource([path], path.parent, features=FeatureConfig(), image=ImageConfig(size=16))
    for unit in source.plan().units:
        collections.deque(source.read(unit), maxlen=0)
    _read_sound(path)


def _picture(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        from PIL import Image

        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(
            folder / f"a.{suffix}"
        )
        return folder / f"a.{suffix}"

    return make


def _read_picture(path: pathlib.Path) -> None:
    from keras_a2i.config import ImageConfig
    from keras_a2i.media.image import encoded_if_fitting, read_image

    read_image(path, ImageConfig(size=16))
    encoded_if_fitting(path, ImageConfig(size=16))


def _vectors(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        array = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
        path = folder / f"a.{suffix}"
        np.save(path, array) if suffix == "npy" else np.savez_compressed(path, embeddings=array, labels=np.arange(6))
        return path

    return make


def _read_vectors(path: pathlib.Path) -> None:
    from keras_a2i.sources.vectors import checked_parts, read_vectors

    collections.deque(checked_parts(read_vectors(path), path.name, 4), maxlen=0)


def _table(folder: pathlib.Path) -> pathlib.Path:
    import soundfile
    from PIL import Image

    soundfile.write(folder / "é.wav", _tone(1.0, 8_000), 8_000)
    Image.new("RGB", (16, 16)).save(folder / "a.png")
    rows = [f"é.wav,a.png,label{k % 2},s{k % 3},{k},train" for k in range(6)]
    (folder / "pairs.csv").write_text("\n".join(["audio,image,label,source,time,split", *rows]), encoding="utf-8")
    return folder / "pairs.csv"


def _read_table(path: pathlib.Path) -> None:
    from keras_a2i.config import FeatureConfig, ImageConfig
    from keras_a2i.sources.open_sources import open_sources

    for source in open_sources([path], features=FeatureConfig(sample_rate=8_000), image=ImageConfig(size=16)):
        for unit in source.plan().units:
            collections.deque(source.read(unit), maxlen=0)


def _records(name: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        from keras_a2i.config import ImageConfig
        from keras_a2i.records.build import build_records

        build_records("synthetic:surf:24", folder / "records", image=ImageConfig(size=16), workers=1)
        return next((folder / "records").glob(name))

    return make


def _read_records(path: pathlib.Path) -> None:
    from keras_a2i.records.records import Records

    records = Records(path.parent)
    for split in records.counts:
        records.table(split)
        records.decoded(split)


def _read_shard(path: pathlib.Path) -> None:
    # As if the manifest had been written for these bytes: what they hold is read, not only their number.
    manifest = path.parent / "records.json"
    values = json.loads(manifest.read_text())
    for shard in values["shards"]:
        if shard["file"] == path.name:
            shard["size"] = path.stat().st_size
    manifest.write_text(json.dumps(values))
    _read_records(path)


def mutate_content(data: bytes, rng: random.Random) -> bytes:
    """Changes the content of the records of a shard, under checksums that match, or the bytes of the file."""
    from keras_a2i.records.tfrecord import RecordWriter, read_records

    if rng.random() < 0.5:
        return mutate(data, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "shard"
        path.write_bytes(data)
        records = list(read_records(path))
        writer, chosen = RecordWriter(path), rng.randrange(len(records))
        for number, record in enumerate(records):
            writer.write(mutate(record, rng) if number == chosen else record)
        writer.close()
        return path.read_bytes()


def _run(name: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        from keras_a2i.config import ImageConfig
        from keras_a2i.records.build import build_records
        from keras_a2i.training.fit import fit

        build_records("synthetic:surf:24", folder / "records", image=ImageConfig(size=16), workers=1)
        settings = {"units": (8, 4), "base_channels": 4, "generator.channels": (4,)}
        options = {"recipe": "features", "settings": settings, "epochs": 2, "verbose": 0, "batch_size": 8}
        fit(folder / "records", folder / "run", restore_best_weights=True, **options)
        return folder / "run" / name

    return make


def _read_config(path: pathlib.Path) -> None:
    from keras_a2i.training.run_folder import RunFolder, read_recipe

    read_recipe(RunFolder(path.parent).read_config())


def _read_state(path: pathlib.Path) -> None:
    from keras_a2i.training.run_folder import RunFolder

    RunFolder(path.parent.parent).read_state()


def _read_history(path: pathlib.Path) -> None:
    from keras_a2i.training.run_folder import RunFolder

    RunFolder(path.parent).read_history()


def _exported(name: str, format: str) -> Callable[[pathlib.Path], pathlib.Path]:
    def make(folder: pathlib.Path) -> pathlib.Path:
        from keras_a2i.exporters.export import export

        path = export(_run("model.keras")(folder), folder / name, format=format).path
        return path / "saved_model.pb" if path.is_dir() else path

    return make


def _load(path: pathlib.Path) -> None:
    from keras_a2i.serving.predictor import load

    load(path.parent if path.name == "saved_model.pb" else path)


READERS = {
    **{f"audio {suffix}": Reader(_sound(suffix), _read_sound) for suffix in ("wav", "flac", "ogg", "mp3", "aiff")},
    "audio m4a": Reader(_film("m4a", "", "aac"), _read_sound),
    "video mp4": Reader(_film("mp4", "libx264", "aac"), _read_film, weight=0.6),
    "video mkv": Reader(_film("mkv", "mpeg4", "flac"), _read_film, weight=0.6),
    "video ts": Reader(_film("ts", "mpeg2video", "mp2"), _read_film, weight=0.6),
    "video avi": Reader(_film("avi", "mpeg4", "pcm_s16le"), _read_film, weight=0.6),
    **{f"image {suffix}": Reader(_picture(suffix), _read_picture) for suffix in ("png", "jpg")},
    **{f"vectors {suffix}": Reader(_vectors(suffix), _read_vectors) for suffix in ("npy", "npz")},
    "pairs.csv": Reader(_table, _read_table),
    "records.json": Reader(_records("records.json"), _read_records, mutate_text, weight=0.5),
    "shard": Reader(_records("train-*.tfrecord"), _read_shard, mutate_content, weight=0.5),
    "config.json": Reader(_run("config.json"), _read_config, mutate_text),
    "variables.npz": Reader(_run("state/variables.npz"), _read_state),
    "history.csv": Reader(_run("history.csv"), _read_history),
    "model.keras": Reader(_run("model.keras"), _load, weight=0.3),
    "model.tflite": Reader(_exported("model.tflite", "tflite"), _load, weight=0.5),
    "SavedModel": Reader(_exported("saved", "saved-model"), _load, weight=0.05),
}
