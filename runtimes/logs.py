"""What executions say, on its way to the hub: gathered, sent together, and never too much of it.

One message after the other carries what all attempts of this runtime have said meanwhile; each is
sent until it was heard. What waits is bounded, for each attempt and in all: who says more is held
up, so that a fast child goes on as fast as the hub takes its log, and nothing is lost. Only when
the hub has heard nothing for a while, the oldest of what waits is left out instead: no work stands
still because a hub is away. Where something was left out, the offsets of the stream say so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import structlog

from colonies.client import Colonies
from colonies.core.errors import ColoniesError, Failure
from colonies.core.log import (
    FURTHEST,
    MAX_STREAM_NAME,
    NO_PROGRESS,
    Append,
    NewEntry,
    Progress,
)
from colonies.core.process import Process
from runtimes.patience import persist
from runtimes.said import SaidStream

logger = structlog.get_logger()

LINGER = 0.1
"""Seconds that what was said waits for more, unless there is enough for a message."""

PART_LINGER = 0.5
"""Seconds that a part of a line waits for the rest of it."""

MESSAGE_BYTES = 65_536
"""What was said in one message; as JSON it may be six times as long."""

LEAST_SHARE = 4096
"""Bytes of a message that each attempt has at least, if it has so much to say."""

LEAST_COST = 128
"""What a text counts as at least, however short, as does an attempt that has something to say."""

MOST_WAITING = 262_144
MOST_WAITING_IN_ALL = 16 * 1024 * 1024
"""Bytes that wait to be sent, of one attempt and of all."""

MOST_SEGMENTS = 4096
"""Changes from one stream to another that wait, of one attempt."""

PIECE = 32_768
"""Bytes that are taken in at once."""

STALL = 2.0
"""Seconds after which a message that was not heard is no reason to hold anybody up."""


class Logs:
    """The logs of the attempts that a runtime makes; `run` sends what they say."""

    def __init__(self, colonies: Colonies) -> None:
        self._colonies = colonies
        self._logs: dict[AttemptLog, None] = {}
        self._came = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._roomy = asyncio.Event()
        self._sending_since: float | None = None
        self._message_bytes = min(MESSAGE_BYTES, colonies.settings.max_message_bytes // 16)
        self.waiting = 0

    def open(self, process: Process, *, is_resumed: bool = False) -> AttemptLog:
        """Give the log of an attempt; one ``is_resumed`` that an earlier start has begun."""
        log = AttemptLog(process, self, is_resumed=is_resumed)
        self._logs[log] = None
        return log

    def forget(self, log: AttemptLog) -> None:
        """Send nothing more for it; may be called twice."""
        self._logs.pop(log, None)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._came.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._is_urgent.wait()
            self._came.clear()
            self._is_urgent.clear()
            if taken := self._take():
                await self._send(taken)
            self._look_again()

    def stir(self, *, is_urgent: bool = False) -> None:
        """Take notice that there is something to send."""
        self._came.set()
        if is_urgent or self.waiting >= self._message_bytes:
            self._is_urgent.set()

    @property
    def is_stalled(self) -> bool:
        """Whether the hub has not heard for long what was sent last."""
        now = asyncio.get_running_loop().time()
        return self._sending_since is not None and now - self._sending_since >= STALL

    async def wait_for_room(self) -> None:
        """Wait until something was taken to be sent, or for so long that it should have been."""
        self._is_urgent.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL):
                await self._roomy.wait()

    async def ask(self, process: Process) -> tuple[int, dict[str, int]]:
        """Give what the hub has heard of an attempt: its last number, and where streams end."""
        page = await persist(lambda: self._colonies.get_logs(process.process_id, FURTHEST))
        return (page.number, page.ends) if page.attempt == process.attempt else (0, {})

    def _take(self) -> list[tuple[AttemptLog, Append]]:
        """Take a message's worth, a share of each who has something, who was left out first."""
        speaking = [log for log in self._logs if log.has_more]
        left = self._message_bytes
        share = max(LEAST_SHARE, left // max(1, len(speaking)))
        taken: list[tuple[AttemptLog, Append]] = []
        for log in speaking:
            if left <= 0:
                break
            if append := log.take(min(share, left)):
                taken.append((log, append))
                left -= LEAST_COST + sum(max(one.size, LEAST_COST) for one in append.entries)
            self._logs[log] = self._logs.pop(log)  # to the end of the line
        self._roomy.set()
        self._roomy.clear()
        return taken

    async def _send(self, taken: list[tuple[AttemptLog, Append]]) -> None:
        appends = [append for _, append in taken]
        self._sending_since = asyncio.get_running_loop().time()
        refusals: list[Failure | None] | list[ColoniesError]
        try:
            refusals = await persist(lambda: self._colonies.add_logs(appends))
        except ColoniesError as error:
            refusals = [error] * len(taken)
        finally:
            self._sending_since = None
        for (log, _), refusal in zip(taken, refusals, strict=True):
            log.settle(refusal)

    def _look_again(self) -> None:
        if any(log.is_ready for log in self._logs):
            self.stir(is_urgent=any(log.is_final for log in self._logs if log.is_ready))
        elif any(log.has_more for log in self._logs):
            asyncio.get_running_loop().call_later(PART_LINGER, self.stir)


@dataclass
class _Segment:
    """Bytes of a stream in the order in which they came."""

    stream: SaidStream
    start: int
    data: bytearray


class AttemptLog:
    """What one attempt says; see `Job` for what each method means."""

    def __init__(self, process: Process, logs: Logs, *, is_resumed: bool) -> None:
        self._process = process
        self._logs = logs
        self._streams: dict[str, SaidStream] = {}
        self._segments: deque[_Segment] = deque()
        self._progress = NO_PROGRESS
        self._number = 0
        self._waiting = 0
        self._is_sending = False
        self._is_over = False
        self._quiet = asyncio.Event()
        self._resuming = asyncio.Lock() if is_resumed else None
        self.is_final = False

    async def write(self, data: bytes | str, stream: str, offset: int | None) -> None:
        """Take what comes next in a stream, when there is room for it."""
        if not (0 < len(stream) <= MAX_STREAM_NAME and stream.isprintable()):
            raise ValueError(f"stream: expected 1 to {MAX_STREAM_NAME} characters, not {stream!r}")
        if offset is not None and not 0 <= offset <= FURTHEST - len(data):
            raise ValueError(f"offset: expected bytes of the stream, not {offset!r}")
        await self._resume()
        said = self._stream(stream)
        data = data.encode(errors="replace") if isinstance(data, str) else bytes(data)
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            has_room = await self._make_room(len(piece))
            if self._is_over:
                return
            begin = said.end if offset is None else offset + start
            known = max(0, said.end - begin)
            if known < len(piece) and has_room:
                self._add(said, begin + known, piece[known:])
            said.end = max(said.end, begin + len(piece))

    async def reached(self, stream: str) -> int:
        """Give where a stream ends."""
        await self._resume()
        return self._stream(stream).end

    async def progress(self, progress: Progress) -> None:
        """Take how far it has come."""
        await self._resume()
        self._progress = progress
        self._quiet.clear()
        self._logs.stir()

    async def finish(self) -> None:
        """Wait until all that was said was heard, or cannot be any more."""
        self.is_final = True
        if self.has_more or self._is_sending:
            self._logs.stir(is_urgent=True)
            await self._quiet.wait()
        self.close()

    def close(self) -> None:
        """Say nothing more, whatever waits; may be called twice."""
        self._is_over = True
        self._segments.clear()
        self._wait_more(-self._waiting)
        self._logs.forget(self)
        self._quiet.set()

    @property
    def has_more(self) -> bool:
        """Whether anything waits to be sent."""
        return not self._is_over and bool(self._waiting or self._progress.is_known)

    @property
    def is_ready(self) -> bool:
        """Whether some of it is more than a part of a line."""
        return self.has_more and bool(self._segments or self._progress.is_known or self.is_final)

    def take(self, most: int) -> Append | None:
        """Take some of what waits, to be sent and settled before more is taken."""
        now = asyncio.get_running_loop().time()
        entries: list[NewEntry] = []
        while self._segments and most > 0:
            segment = self._segments[0]
            piece = bytes(segment.data[:most])
            del segment.data[: len(piece)]
            entries += segment.stream.cut(segment.start, piece, now)
            segment.start += len(piece)
            most -= max(len(piece), LEAST_COST)
            if not segment.data:
                self._segments.popleft()
        if not self._segments:
            for stream in self._streams.values():
                is_due = stream.since is not None and now - stream.since >= PART_LINGER
                if is_due or (self.is_final and stream.waiting):
                    entries += stream.flush()
        waiting = sum(one.waiting for one in self._streams.values())
        self._wait_more(waiting + sum(len(one.data) for one in self._segments) - self._waiting)
        progress, self._progress = self._progress, NO_PROGRESS
        if not entries and not progress.is_known:
            self._settle_if_quiet()
            return None
        self._number += 1
        self._is_sending = True
        return Append(
            process_id=self._process.process_id,
            attempt_token=self._process.attempt_token,
            number=self._number,
            entries=entries,
            progress=progress,
        )

    def settle(self, refusal: ColoniesError | None) -> None:
        """Take notice of what the hub has said to what was taken last."""
        self._is_sending = False
        if refusal and not self._is_over:
            log = logger.bind(process=self._process.process_id)
            log.warning("log refused", error=str(refusal))
            self.close()
        self._settle_if_quiet()

    def _settle_if_quiet(self) -> None:
        if not self.has_more and not self._is_sending:
            self._quiet.set()

    async def _resume(self) -> None:
        """Go on where the hub has heard an earlier start of this runtime say it last."""
        if self._resuming is None:
            return
        async with self._resuming:
            if self._resuming is None:
                return
            self._number, ends = await self._logs.ask(self._process)
            self._streams = {name: SaidStream(name, end) for name, end in ends.items()}
            self._resuming = None

    def _stream(self, name: str) -> SaidStream:
        return self._streams.setdefault(name, SaidStream(name))

    async def _make_room(self, size: int) -> bool:
        """Wait for room; where that is in vain make some, and give whether it is enough."""
        while not self._is_over and (
            self._waiting + size > MOST_WAITING
            or self._logs.waiting + size > MOST_WAITING_IN_ALL
            or len(self._segments) >= MOST_SEGMENTS
        ):
            if self._logs.is_stalled:
                self._drop(size)
                return self._logs.waiting + size <= MOST_WAITING_IN_ALL
            await self._logs.wait_for_room()
        return True

    def _add(self, stream: SaidStream, start: int, data: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if last and last.stream is stream and stream.end == start:
            last.data += data
        else:
            self._segments.append(_Segment(stream, start, bytearray(data)))
        stream.end = start + len(data)
        self._quiet.clear()
        self._wait_more(len(data))
        self._logs.stir()

    def _drop(self, size: int) -> None:
        """Leave out so much of the oldest that waits, and what is in too many pieces."""
        while self._segments and (size > 0 or len(self._segments) >= MOST_SEGMENTS):
            segment = self._segments[0]
            dropped = min(size, len(segment.data)) or len(segment.data)
            del segment.data[:dropped]
            segment.start += dropped
            size -= dropped
            self._wait_more(-dropped)
            if not segment.data:
                self._segments.popleft()

    def _wait_more(self, change: int) -> None:
        """Count what waits, here and in all."""
        self._waiting += change
        self._logs.waiting += change
