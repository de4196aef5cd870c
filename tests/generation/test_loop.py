"""What is written, step by step, by a model that is a table: the next token depends on the last one alone."""

import numpy as np

from octavo.generation.beam import search
from octavo.generation.loop import write
from octavo.schema.signature import Generation, GenerationConfig

TOKENS = 6


class Table:
    """Logits of the next token by the last one; remembers what it was asked."""

    def __init__(self, table, prompts):
        self.table, self.rows, self.asked = table, [list(ids) for ids in prompts], []

    def advance(self, tokens):
        for row, new in zip(self.rows, tokens.tolist(), strict=True):
            row.extend(new)
        self.asked.append(len(self.rows))
        return self.table[[row[-1] for row in self.rows]]

    def select(self, rows):
        self.rows = [list(self.rows[row]) for row in rows]


def table(seed=0):
    return np.random.default_rng(seed).normal(0, 2, (TOKENS, TOKENS)).astype(np.float32)


def generation(**settings):
    return Generation(sampling=GenerationConfig(**settings), eos_token_ids=(5,))


def written(steps, prompts, model, **more):
    rows = [[] for _ in prompts]
    for step in write(steps, prompts, model, **more):
        for row, token in zip(rows, step, strict=True):
            if token is not None:
                row.append(token)
    return rows


def test_the_most_likely_token_is_taken_until_the_end_token():
    logits = table()
    prompts = [[0], [3, 1], [2]]
    found = written(Table(logits, prompts), prompts, generation(max_new_tokens=8))
    for prompt, ids in zip(prompts, found, strict=True):
        last = prompt[-1]
        for place, token in enumerate(ids):
            assert token == logits[last].argmax()
            assert token != 5 or place == len(ids) - 1
            last = token
        assert len(ids) == 8 or ids[-1] == 5


def test_rows_that_have_ended_are_not_computed_any_more():
    logits = np.full((TOKENS, TOKENS), -9, np.float32)
    logits[0, 5] = logits[1, 2] = logits[2, 1] = 9  # 0 ends at once, 1 and 2 go round
    steps = Table(logits, [[0], [1]])
    assert written(steps, [[0], [1]], generation(max_new_tokens=4)) == [[5], [2, 1, 2, 1]]
    assert steps.asked == [2, 1, 1, 1]


def test_samples_depend_on_the_seed_and_the_row_and_not_on_their_company():
    logits, model = table(1) / 4, generation(max_new_tokens=12, do_sample=True, seed=3)
    prompts = [[0], [0], [1]]
    together = written(Table(logits, prompts), prompts, model)
    assert together == written(Table(logits, prompts), prompts, model)
    assert together[0] != together[1]
    for row, prompt in enumerate(prompts):
        assert written(Table(logits, [prompt]), [prompt], model, numbers=[row]) == [together[row]]
    assert together != written(Table(logits, prompts), prompts, generation(max_new_tokens=12, do_sample=True, seed=4))


def test_a_text_ends_where_it_is_told_to():
    logits = np.full((TOKENS, TOKENS), -9, np.float32)
    logits[1, 2] = logits[2, 3] = logits[3, 1] = 9
    found = written(
        Table(logits, [[1]]), [[1]], generation(max_new_tokens=9), ended=lambda row, ids: list(ids[-2:]) == [3, 1]
    )
    assert found == [[2, 3, 1]]


def best_text(logits, start, length, penalty):
    """The best of all texts, scored as the search scores them: those that end, and those of full length."""
    steps = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    best, ids = -np.inf, None
    stack = [([], start, 0.0)]
    while stack:
        text, last, score = stack.pop()
        for token in range(TOKENS):
            one, total = [*text, token], score + float(steps[last, token])
            if token == 5 or len(one) == length:
                if total / len(one) ** penalty > best:
                    best, ids = total / len(one) ** penalty, one
            else:
                stack.append((one, token, total))
    return ids


def test_beams_enough_find_the_best_of_all_texts():
    for seed in range(6):
        logits = table(seed)
        model = generation(max_new_tokens=4, num_beams=TOKENS**3, early_stopping="never", length_penalty=0.0)
        assert search(Table(logits, [[0], [2]]), [[0], [2]], model) == [
            best_text(logits, start, 4, 0.0) for start in (0, 2)
        ]


def test_one_beam_is_greedy():
    for seed in range(5):
        logits = table(seed)
        model = generation(max_new_tokens=7)
        (greedy,) = written(Table(logits, [[1]]), [[1]], model)
        assert search(Table(logits, [[1]]), [[1]], model) == [greedy]
