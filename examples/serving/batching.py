"""Batches by a budget of tokens for any asyncio server: a batch is what came while the last one ran."""

import asyncio

import octavo


def parse(predictor, rows):
    """Rows as the predictor takes them; a list of two texts is a pair. Raises octavo.DataError."""
    parsed = [predictor.task.parse_row(tuple(row) if isinstance(row, list) else row) for row in rows]
    return [text if pair is None else (text, pair) for text, pair in parsed]


class Full(Exception):  # noqa: N818 - as asyncio.QueueFull
    """More texts wait than may: try again later."""


class Batches:
    """One batch at a time; `waiting` texts may wait, each request for `seconds`; `options` are those of a call."""

    def __init__(self, predictor, *, tokens=4096, waiting=512, seconds=10.0, **options):
        self.predictor, self.options = predictor, options
        self.tokens, self.seconds, self.queue = tokens, seconds, asyncio.Queue(waiting)

    async def ask(self, rows):
        """The tokens of texts (or pairs), and their answers. Raises Full, TimeoutError, octavo.OctavoError."""
        rows = parse(self.predictor, rows)
        tokens = [len(encoded) for encoded in self.predictor.tokenizer.encode_batch(rows)]
        if self.queue.qsize() + len(rows) > self.queue.maxsize:
            raise Full(f"{self.queue.qsize()} texts are waiting, {self.queue.maxsize} may")
        answers = [asyncio.get_running_loop().create_future() for _ in rows]
        for one in zip(rows, tokens, answers, strict=True):
            self.queue.put_nowait(one)
        return sum(tokens), await asyncio.wait_for(asyncio.gather(*answers), self.seconds)

    async def run(self):
        """Answer until it is cancelled."""
        while True:
            batch, left = [await self.queue.get()], self.tokens
            while (left := left - batch[-1][1]) > 0 and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            asked = [(row, answer) for row, _, answer in batch if not answer.done()]  # without those who gave up
            try:
                found = await asyncio.to_thread(self.predictor, [row for row, _ in asked], **self.options)
            except octavo.OctavoError as error:
                found = [error] * len(asked)
            for (_, answer), one in zip(asked, found, strict=True):
                if not answer.done():
                    answer.set_exception(one) if isinstance(one, Exception) else answer.set_result(one)
