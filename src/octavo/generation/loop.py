"""Greedy search and sampling: each token is the most likely one, or drawn at random."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from octavo.generation import Steps
from octavo.generation.processors import draw, process, warp
from octavo.schema.signature import Generation

Ended = Callable[[int, Sequence[int]], bool]  # whether a row's text has ended, of its new ids


def write(
    steps: Steps,
    prompts: Sequence[Sequence[int]],
    model: Generation,
    ended: Ended | None = None,
    numbers: Sequence[int] = (),
) -> Iterator[list[int | None]]:
    """The next token of each row, step by step; None for rows that have ended.

    Args:
        steps: has read nothing but the prompts.
        prompts: the ids that a row begins with; of a text2text model the decoder's start.
        model: its tokens, and how to write.
        ended: whether a row ends besides at an end token.
        numbers: the rows' positions among all that a user gave, by default from 0: a row's samples depend on its number
            and the seed alone.
    """
    config, count = model.sampling, len(prompts)
    numbers = numbers or range(count)
    seeds = [None if config.seed is None else (config.seed, number) for number in numbers]
    generators = [np.random.default_rng(seed) for seed in seeds]
    written, begin = [list(ids) for ids in prompts], [len(ids) for ids in prompts]
    alive, tokens = np.arange(count), np.empty((count, 0), np.int64)
    for _ in range(config.max_new_tokens):
        scores = process(steps.advance(tokens), [written[row] for row in alive], [begin[row] for row in alive], model)
        if config.do_sample:
            chosen = draw(warp(scores, config), np.array([generators[row].random() for row in alive], np.float32))
        else:
            chosen = scores.argmax(axis=1)
        step: list[int | None] = [None] * count
        going = []
        for place, (row, token) in enumerate(zip(alive.tolist(), chosen.tolist(), strict=True)):
            written[row].append(token)
            step[row] = token
            if token not in model.eos_token_ids and not (ended and ended(row, written[row][begin[row] :])):
                going.append(place)
        yield step
        if not going:
            return
        if len(going) < len(alive):
            kept = np.array(going, np.int64)
            steps.select(kept)
            alive, chosen = alive[kept], chosen[kept]
        tokens = chosen[:, None]
