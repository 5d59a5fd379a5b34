"""The TFRecord container: framing and checksums, without TensorFlow so that workers start fast.

A record is its length (uint64), the masked CRC-32C of the length, the data, the masked CRC-32C of the data.

Reference: TensorFlow, core/lib/io/record_writer.h.
"""

import hashlib
import os
import pathlib
import struct
from collections.abc import Callable, Collection, Iterator

import google_crc32c

from keras_a2i.errors import CorruptRecordError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
MAX_RECORD_BYTES = 1 << 30


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class RecordWriter:
    """Writes records to a file and keeps the number, the size and the sha256 of all of them.

    Args:
        path: the file to write; an existing one is replaced.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.count = 0
        self.size = 0
        self._hash = hashlib.sha256()
        self._file = path.open("wb")

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of everything that was written."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Appends one record."""
        length = struct.pack("<Q", len(data))
        frame = b"".join((length, _FOOTER.pack(_masked_crc(length)), data, _FOOTER.pack(_masked_crc(data))))
        self._file.write(frame)
        self._hash.update(frame)
        self.size += len(frame)
        self.count += 1

    def close(self) -> None:
        """Waits until everything has reached the disk and closes the file."""
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


def read_records(
    path: pathlib.Path,
    on_damage: Callable[[CorruptRecordError], None] | None = None,
    rows: Collection[int] | None = None,
) -> Iterator[bytes]:
    """Yields the data of each record after checking its checksums.

    Args:
        path: a TFRecord file, not compressed.
        on_damage: called with the error of a damaged record, which is then skipped; where the damage hides the start
            of the next record the rest of the file is skipped. None raises the error.
        rows: the wanted records, counted from 0; the data of the others is not read. None reads all.

    Raises:
        CorruptRecordError: names the file and the record (counted from 0).
    """
    last = max(rows, default=-1) if rows is not None else None
    index = 0
    with path.open("rb") as file:
        while (last is None or index <= last) and (header := file.read(_HEADER.size)):
            error, lost = None, False
            data = None
            if len(header) < _HEADER.size:
                error, lost = "the file ends inside the record's header", True
            else:
                length, crc = _HEADER.unpack(header)
                if _masked_crc(header[:8]) != crc or length > MAX_RECORD_BYTES:
                    error, lost = "the checksum of its length doesn't match", True
                elif rows is not None and index not in rows:
                    file.seek(length + _FOOTER.size, os.SEEK_CUR)
                else:
                    data, footer = file.read(length), file.read(_FOOTER.size)
                    if len(data) < length or len(footer) < _FOOTER.size:
                        error, lost = "the file ends inside the record", True
                    elif _masked_crc(data) != _FOOTER.unpack(footer)[0]:
                        error = "the checksum of its data doesn't match"
            if error is not None:
                damage = CorruptRecordError(
                    f"Every record must match its checksum. Received: record {index} of {path.name}: {error}. "
                    "Build the records again, with overwrite=True (--overwrite); in Python, ignore_errors=True skips "
                    "damaged records"
                )
                if on_damage is None:
                    raise damage
                on_damage(damage)
                if lost:
                    return
            elif data is not None:
                yield data
            index += 1
