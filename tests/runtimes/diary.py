"""What a job says of itself, for tests to read and to wait on."""

import asyncio


class Diary:
    """What a job says of itself."""

    def __init__(self):
        self.texts = []
        self.streams = {}
        self._news = asyncio.Event()

    async def write(self, data, stream, offset):
        kept = self.streams.setdefault(stream, b"")
        assert offset == len(kept)
        self.streams[stream] = kept + data
        self._news.set()

    async def reached(self, stream):
        return len(self.streams.get(stream, b""))

    async def progress(self, progress):
        self.texts.append(progress.text)
        self._news.set()

    async def until(self, happened):
        async with asyncio.timeout(90):
            while not happened():
                self._news.clear()
                await self._news.wait()

    async def said(self, *words):
        await self.until(lambda: any(all(word in text for word in words) for text in self.texts))
