"""What an audio file holds by its bytes: its container, and the streams that were joined one after the other."""

import dataclasses
import pathlib
import struct
from typing import BinaryIO

# A tag in the first frame states the length of an mp3 stream: Xing or Info (LAME and others), VBRI (Fraunhofer).
_VBRI_OFFSET = 36
_BITRATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {0b11: (44_100, 48_000, 32_000), 0b10: (22_050, 24_000, 16_000), 0b00: (11_025, 12_000, 8_000)}
# Consecutive frames that show a stream without such a tag: fewer may be the rest of one whose tag excludes itself.
_FRAMES_OF_A_STREAM = 4
# A header that states more for each byte isn't believed.
_MAX_SAMPLES_PER_BYTE = 4_096


@dataclasses.dataclass(frozen=True, slots=True)
class Stream:
    """One of the streams that follow each other in a file.

    Attributes:
        start: byte at which it starts.
        stop: byte at which it ends.
        n_samples: samples per channel that it states; None where it states none.
        is_cut: whether it states more bytes than the file has.
    """

    start: int
    stop: int
    n_samples: int | None = None
    is_cut: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Mp3Frame:
    """The header of an MPEG audio frame: its size in bytes, its samples, and where its tag would lie."""

    size: int
    n_samples: int
    tag_offset: int


def believable_samples(stated: int, path: pathlib.Path) -> int:
    """Returns the samples that a header states, or 0 if they are more than a file of that size can hold."""
    return stated if stated <= _MAX_SAMPLES_PER_BYTE * path.stat().st_size else 0


def is_of_libsndfile(path: pathlib.Path) -> bool:
    """Returns False where the first bytes are those of a container or codec that libsndfile would take for mp3."""
    with path.open("rb") as file:
        start = _skip_id3(file, 0)
        file.seek(start)
        head = file.read(16)
    if (
        head[4:8] == b"ftyp"
        or head[:4] in (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75", b"ADIF", b"#!AM")
        or head[:3] == b"FLV"
    ):
        return False
    # A sync word of layer 0 is AAC in ADTS.
    return not (len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0)


def find_streams(path: pathlib.Path) -> list[Stream]:
    """Finds the streams of an mp3 or Ogg file that was joined from several; [] for a file of another kind.

    Joined mp3 files are told apart by the length that the first frame of a stream states, chained Ogg streams by the
    pages that begin them.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = _skip_id3(file, 0)
        file.seek(start)
        head = file.read(4)
        if head == b"OggS":
            return _ogg_streams(file, size)
        return _mp3_streams(file, start, size) if _parse_frame(head) else []


def wav_samples(path: pathlib.Path) -> int | None:
    """Returns the samples per channel that a wav file's header states; None for another file or an unknown length."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        bytes_per_sample = 0
        while len(chunk := file.read(8)) == 8:
            name, length = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            if name == b"data":
                return length // bytes_per_sample if bytes_per_sample and 0 < length < 0xFFFF_FF00 else None
            content = file.read(min(length, 64))
            if name == b"fmt " and len(content) >= 14:
                bytes_per_sample = struct.unpack("<H", content[12:14])[0]
            file.seek(length - len(content) + length % 2, 1)
    return None


def _skip_id3(file: BinaryIO, position: int) -> int:
    """Returns where the ID3v2 tags at a position end."""
    while True:
        file.seek(position)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return position
        a, b, c, d = (byte & 0x7F for byte in head[6:])
        position += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)


def _ogg_streams(file: BinaryIO, size: int) -> list[Stream]:
    """Chained streams: a page that begins a stream after pages that didn't."""
    starts, position, begun = [0], 0, True
    while position < size:
        file.seek(position)
        head = file.read(27 + 255)
        if len(head) < 27 or head[:4] != b"OggS":
            break
        begins = bool(head[5] & 2)
        if begins and not begun:
            starts.append(position)
        begun = begins
        n_segments = head[26]
        position += 27 + n_segments + sum(head[27 : 27 + n_segments])
    return [Stream(start, stop) for start, stop in zip(starts, [*starts[1:], size], strict=True)]


def _mp3_streams(file: BinaryIO, start: int, size: int) -> list[Stream]:
    streams: list[Stream] = []
    begin, position = 0, start
    while True:
        n_samples, length = _stated_length(file, position)
        end = position + length if length else size
        following = _skip_id3(file, end) if end < size else size
        if following >= size or not _begins_stream(file, following):
            return [*streams, Stream(begin, size, n_samples, is_cut=end > size)]
        streams.append(Stream(begin, end, n_samples))
        begin, position = end, following


def _begins_stream(file: BinaryIO, position: int) -> bool:
    if _stated_length(file, position)[1]:
        return True
    for _ in range(_FRAMES_OF_A_STREAM):
        file.seek(position)
        frame = _parse_frame(file.read(4))
        if frame is None:
            return False
        position += frame.size
    return True


def _stated_length(file: BinaryIO, position: int) -> tuple[int | None, int]:
    """The samples and the bytes that the tag of the frame at a position states; (None, 0) where there is none."""
    file.seek(position)
    head = file.read(256)
    frame = _parse_frame(head)
    if frame is None:
        return None, 0
    tag = head[frame.tag_offset :]
    if tag[:4] in (b"Xing", b"Info") and len(tag) >= 16 and tag[7] & 3 == 3:
        n_frames, n_bytes = struct.unpack(">II", tag[8:16])
        return n_frames * frame.n_samples, n_bytes
    tag = head[_VBRI_OFFSET:]
    if tag[:4] == b"VBRI" and len(tag) >= 18:
        n_bytes, n_frames = struct.unpack(">II", tag[10:18])
        return n_frames * frame.n_samples, n_bytes
    return None, 0


def _parse_frame(head: bytes) -> _Mp3Frame | None:
    """Parses the four bytes of an MPEG audio frame's header (ISO 11172-3); None if they aren't one."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 0b01 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 0b11
    bits = 1000 * _BITRATES[1 if first else 2, layer][bitrate]
    n_samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
    slot = 4 if layer == 1 else 1
    size = (n_samples // 8 // slot * bits // _SAMPLE_RATES[version][rate] + padding) * slot
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _Mp3Frame(size, n_samples, 4 + side + (0 if head[1] & 1 else 2))
