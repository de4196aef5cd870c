"""The sentencepiece model of a checkpoint: what a converted tokenizer is held against, and what mends it.

A `.model` file has pieces with scores, and a table of characters to replace before the text is cut (NFKC with
additions). A conversion may lose the table (transformers 5 does for DeBERTa) or undo it (for XLNet it takes Hangul
apart), so the reference is `sentencepiece` itself.
"""

import base64
import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from octavo.errors import CheckpointError, MissingExtraError

NAMES = ("spm.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "tokenizer.model")


class SentencePiece:
    """A sentencepiece model, and how its tokenizer's class in transformers prepares a text for it.

    `name` is the file's, `known` its pieces. `accents` are dropped, `lower` is lower-casing, `quotes` of LaTeX become
    plain ones: what the classes of ALBERT, XLNet and FNet did before they called sentencepiece.
    """

    def __init__(self, file: Path, processor: Any, reference: Any) -> None:
        """Take the model of a file; `reference` is the tokenizer of transformers, whose settings count."""
        self.name, self._processor = file.name, processor
        self.known = {str(processor.id_to_piece(index)) for index in range(processor.piece_size())}
        keeps = getattr(reference, "keep_accents", None)
        self.quotes, self.accents = keeps is not None, keeps is False
        self.lower = bool(getattr(reference, "do_lower_case", False))

    def prepare(self, text: str) -> str:
        """The text as sentencepiece gets it."""
        if self.quotes:
            text = " ".join(text.split()).replace("``", '"').replace("''", '"')
        if self.accents:
            decomposed = unicodedata.normalize("NFKD", text)
            text = "".join(character for character in decomposed if not unicodedata.combining(character))
        return text.lower() if self.lower else text

    def pieces(self, text: str) -> list[str | None]:
        """The pieces of a text; None for a run of unknown ones."""
        pieces: list[str | None] = []
        for index in self._processor.encode(self.prepare(text)):
            piece = None if self._processor.is_unknown(index) else str(self._processor.id_to_piece(index))
            if piece is not None or pieces[-1:] != [None]:
                pieces.append(piece)
        return pieces

    def differing(self, tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
        """The texts that a tokenizer splits into other pieces."""
        model = json.loads(tokenizer.to_str())["model"]
        unknown = model.get("unk_id")
        unknown = tokenizer.token_to_id(model["unk_token"]) if unknown is None and model.get("unk_token") else unknown
        return [text for text in texts if _pieces_of(tokenizer, text, unknown) != self.pieces(text)]

    def moved(self, tokenizer: Tokenizer) -> list[str]:
        """Pieces whose ids are not the model's: a tokenizer may put special tokens before all, and not among them."""
        model = self._processor
        usual = [
            (tokenizer.token_to_id(model.id_to_piece(index)), index)
            for index in range(model.piece_size())
            if not (model.is_control(index) or model.is_unknown(index) or model.is_unused(index))
        ]
        shifts = [own - index for own, index in usual if own is not None]
        shift = max(set(shifts), key=shifts.count) if shifts else 0
        return [str(model.id_to_piece(index)) for own, index in usual if own != index + shift]

    def mended(self, tokenizer: Tokenizer) -> Iterator[Tokenizer]:
        """The tokenizer with what the model's file says of texts before they are cut.

        Several: `Precompiled` of tokenizers replaces letter by letter, and so does not compose what was decomposed.
        """
        from sentencepiece import sentencepiece_model_pb2

        proto = sentencepiece_model_pb2.ModelProto.FromString(self._processor.serialized_model_proto())
        spec = proto.normalizer_spec
        table = base64.b64encode(spec.precompiled_charsmap).decode()
        replaced = [{"type": "Precompiled", "precompiled_charsmap": table}] if table else []
        for form in ([], [{"type": "NFC"}], [{"type": "NFKC"}]):
            content = json.loads(tokenizer.to_str())
            parts = [*self._preparing(), *form, *replaced]
            if spec.remove_extra_whitespaces:
                parts.append({"type": "Strip", "strip_left": True, "strip_right": True})
                parts.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
            scheme = "always" if spec.add_dummy_prefix else "never"
            content["normalizer"] = {"type": "Sequence", "normalizers": parts}
            content["pre_tokenizer"] = {
                "type": "Metaspace",
                "replacement": "▁",
                "prepend_scheme": scheme,
                "split": True,
            }
            if "byte_fallback" in content["model"]:
                content["model"]["byte_fallback"] = proto.trainer_spec.byte_fallback
            yield Tokenizer.from_str(json.dumps(content, ensure_ascii=False))

    def _preparing(self) -> Iterator[dict[str, Any]]:
        """`prepare` as normalizers."""
        if self.quotes:
            yield {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
            for quotes in ("``", "''"):
                yield {"type": "Replace", "pattern": {"String": quotes}, "content": '"'}
        if self.accents:
            yield from ({"type": "NFKD"}, {"type": "StripAccents"})
        if self.lower:
            yield {"type": "Lowercase"}


def _pieces_of(tokenizer: Tokenizer, text: str, unknown: int | None) -> list[str | None]:
    """What a tokenizer makes of a text; None for a run of unknown tokens."""
    pieces: list[str | None] = []
    for index in tokenizer.encode(text, add_special_tokens=False).ids:
        piece = None if index == unknown else tokenizer.id_to_token(index)
        if piece is not None or pieces[-1:] != [None]:
            pieces.append(piece)
    return pieces


def read_sentencepiece(folder: Path, reference: Any) -> SentencePiece | None:
    """The sentencepiece model of a folder; None where there is none.

    Raises:
        CheckpointError: the file is damaged.
        MissingExtraError: sentencepiece is not installed.
    """
    file = next((folder / name for name in NAMES if (folder / name).exists()), None)
    if file is None:
        return None
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        then = "pip install 'octavo[convert]'"
        raise MissingExtraError(f"{file.name} is read by sentencepiece, which is not installed", then=then) from None
    try:
        return SentencePiece(file, SentencePieceProcessor(model_file=str(file)), reference)
    except (RuntimeError, OSError) as error:
        if file.name == "tokenizer.model":  # of tiktoken
            return None
        raise CheckpointError("the sentencepiece model cannot be read", where=file, got=error) from None
