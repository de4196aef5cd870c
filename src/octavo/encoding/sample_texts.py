"""Texts that two tokenizers are compared on, made of a vocabulary: what is in it, in every form that it may come in."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from tokenizers import Tokenizer

FIXED = (
    "한국어 문장은 조사와 어미가 붙어서 길어진다.",
    "The quick brown fox jumps over the lazy dog, 1234.5 times!",
    "   공백과\t기호… ☕ café naïve \uff21\uff22\uff23  ",
    "",
    "①번 문제, ⑩ 그리고 ㉠ ㈜ ½ ™ ﬁ",  # one character for several
    "\uff26\uff35\uff2c\uff2c\u3000\uff57\uff49\uff44\uff54\uff48\uff0c\uff11\uff12\uff13\uff01",  # of full width
    "ㅋㅋㅋ ㅠㅠ ㄱㄴㄷ ㅎㅇ",  # letters of Hangul, of the block that keyboards write
    unicodedata.normalize("NFD", "서울에서 친구를 만났다. 값 café Å"),
    "Å \u212b ﾊﾝｶｸ が か\u3099 漢字\u3000\u2f00 Straße İstanbul",
    "줄\n바꿈\r\n그리고\u00a0빈\u200b칸 \u2028 끝",
    "``인용'' \"다시\" 'it''s' --- 1,000, a_b [x] <y> #해시",
)
MOST_SCRIPTS, MOST_PIECES, LOOKED_AT = 24, 6, 4000  # scripts of a vocabulary, pieces of each, pieces that are looked at


def sample_texts(tokenizer: Tokenizer, known: Collection[str] | None = None) -> tuple[str, ...]:
    """Fixed texts, and pieces of each script in the vocabulary: as they are, in capitals, composed and decomposed.

    `known` are the pieces to take, by default all.
    """
    texts = list(FIXED)
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    ids = sorted(index for piece, index in vocabulary.items() if known is None or piece in known)
    for pieces in _pieces_by_script(tokenizer, ids):
        text = " ".join(pieces)
        texts += [text, text.upper(), *(unicodedata.normalize(form, text) for form in ("NFD", "NFKC"))]
    return tuple(dict.fromkeys(texts))


def _pieces_by_script(tokenizer: Tokenizer, ids: Sequence[int]) -> list[list[str]]:
    """Pieces of each script, spread over the vocabulary; scripts with most pieces first."""
    by_script = defaultdict(list)
    looked_at = [[index] for index in ids[:: max(1, len(ids) // LOOKED_AT)]]
    for decoded in tokenizer.decode_batch(looked_at, skip_special_tokens=False):
        piece = re.sub(r"^(##|▁)+|</w>$", "", decoded).strip()
        if piece and "\ufffd" not in piece and not re.fullmatch(r"[\[<].*[\]>]", piece):
            by_script[_script(piece)].append(piece)
    largest = sorted(by_script.values(), key=len, reverse=True)[:MOST_SCRIPTS]
    return [pieces[:: max(1, len(pieces) // MOST_PIECES)][:MOST_PIECES] for pieces in largest]


def _script(piece: str) -> str:
    """The first word of a character's name, which is its script: HANGUL, LATIN, CJK, FULLWIDTH, CIRCLED, ..."""
    return unicodedata.name(piece[0], "unnamed").partition(" ")[0]


def in_sentences(tokens: Iterable[str]) -> tuple[str, ...]:
    """Each token in a sentence, and between two words without a space."""
    return tuple(text for token in tokens for text in (f"오늘 {token} see now", f"가{token}a"))
