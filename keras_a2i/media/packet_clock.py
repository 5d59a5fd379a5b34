"""The clock of a file's packets, made continuous where it restarts, as in joined files, or jumps far ahead."""

from collections.abc import Iterable, Iterator
from typing import Any

MAX_GAP = 3_600.0
"""Seconds: a longer time without any packet is a jump of the clock and not a gap."""

# Seconds by which decoding times go back where a clock restarts; within a clock they only grow.
_BACK = 1.0
# The same for packets that state the time of presentation alone: frames are reordered by less.
_BACK_PRESENTED = 5.0


class PacketClock:
    """Shifts the time stamps of packets so that a clock that restarts or jumps continues where it ended.

    A clock that goes back, or ahead by more than `MAX_GAP` of everything before, begins a new part of the file if the
    next packet of the stream follows it; otherwise the stamp is damaged, and the packet loses it. All streams of a part
    are shifted by the same time.

    Args:
        troubles: receives a sentence for each jump ahead that was left out.
    """

    def __init__(self, troubles: list[str]):
        self._troubles = troubles
        self._shifts = [0.0]
        self._part: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._held: dict[int, Any] = {}
        self._end: float | None = None

    def __call__(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Yields the packets with continuous time stamps."""
        for packet in packets:
            index = packet.stream_index
            if (held := self._held.pop(index, None)) is not None:
                if self._jumps(packet) and 0 < _time(packet) - _time(held) < _BACK_PRESENTED:
                    self._begin_part(held)
                    yield self._place(held)
                else:
                    yield _without_stamps(held)
            if self._jumps(packet):
                self._held[index] = packet
            else:
                yield self._place(packet)
        yield from map(_without_stamps, self._held.values())

    def _jumps(self, packet: Any) -> bool:
        time, last = _time(packet, default=None), self._last.get(packet.stream_index)
        if time is None or self._end is None:
            return False
        time += self._shifts[self._part.get(packet.stream_index, 0)]
        back = _BACK if packet.dts is not None else _BACK_PRESENTED
        return (last is not None and time < last - back) or time > self._end + MAX_GAP

    def _begin_part(self, packet: Any) -> None:
        index = packet.stream_index
        part = self._part.get(index, 0) + 1
        self._part[index] = part
        if part < len(self._shifts) and not self._jumps(packet):
            return
        assert self._end is not None
        tick = float(packet.stream.time_base)
        start = (packet.pts if packet.pts is not None else packet.dts) * tick
        if start + self._shifts[part - 1] > self._end + MAX_GAP:
            self._troubles.append(f"the clock jumps ahead by {start + self._shifts[part - 1] - self._end:,.0f} s")
        self._shifts.append(self._end - start)
        self._part[index] = len(self._shifts) - 1

    def _place(self, packet: Any) -> Any:
        index, tick = packet.stream_index, float(packet.stream.time_base)
        shift = self._shifts[self._part.get(index, 0)]
        if shift:
            ticks = round(shift / tick)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        if (time := _time(packet, default=None)) is not None:
            self._last[index] = time
            presented = time if packet.pts is None else packet.pts * tick
            end = presented + (packet.duration or 0) * tick
            self._end = end if self._end is None else max(self._end, end)
        return packet


def _time(packet: Any, default: Any = 0.0) -> Any:
    """Seconds at which a packet is decoded, or presented if that is all it states."""
    stamp = packet.pts if packet.dts is None else packet.dts
    return default if stamp is None else stamp * float(packet.stream.time_base)


def _without_stamps(packet: Any) -> Any:
    packet.pts = packet.dts = None
    return packet
