"""What tables of the documents say, in English and in Korean, and a table itself."""

MIB = 2**20

ENGLISH = {
    "model": [
        "",
        "size, MiB",
        "smaller",
        "seconds",
        "faster",
        "from texts",
        "1 row, ms",
        "accuracy",
        "points",
        "agreement",
        "KL",
        "batch effect",
    ],
    "torch": "torch fp32",
    "float": "Octavo float",
    "int8": "**Octavo int8**",
    "tensor": "Octavo int8, one scale per tensor",
    "stock": "stock ONNX Runtime int8",
    "note": "{n:,} rows; KL in 1e-5 nats. {machine}",
    "shape": ["BERT-base, ms", "32 x 128", "1 x 32", "size, MiB"],
    "first": ["", "first answer, s"],
    "oldguide": ["size, MiB", "seconds for 5,010 pairs", "faster", "agreement (ko-nli)"],
    "shares": "Of Octavo's gain {padding:.1f}x comes from not padding, {engine:.1f}x from the engine and its graph, "
    "{int8:.1f}x from int8. The guides' model went from {old} to {new} MiB.",
    "threads": "{} threads, ",
    "engines": "BERT-base",
    "why": ["", "MiB", "faster", "agreement", "KL", "batch effect"],
    "why names": {},
    "wrong": "**wrong**",
    "saturation": "On a CPU without VNNI ({cpu}, {kind}, {date}), {n:,} KorNLI pairs: NNCF's int8 in OpenVINO\n"
    "keeps {nncf} of the labels, **wrong without a word** (the same file computed in floats: {floats});\n"
    "the stock tool with `reduce_range=True` {stock}; Octavo, which looks at the CPU by itself, {dynamic}.",
    "trims": [
        "",
        "rows",
        "MiB",
        "held-out texts split otherwise, %",
        "of their tokens, %",
        "same logits",
        "seconds",
    ],
    "rows": ["dynamic int8", "size, of float", "table, dB", "score x 100", "against float"],
    "xlm-r": ["XLM-R base's shape, whole artifacts", "MiB", "of the float checkpoint"],
    "chain": ["multilingual BERT's shape", "engine", "MiB", "of the checkpoint", "seconds", "faster"],
    "students": ["ko-sentiment, 4 -> 2 layers", "minutes", "accuracy", "drop (95 %)", "agreement"],
    "taught": ["ko-nli, 4 -> 3 layers", "minutes", "accuracy", "drop (95 %)", "agreement"],
    "student": "{rows:,} reviews; the teacher has {teacher:.2f} %. Layers that stayed, counted from 0: {layers}.",
    "student int8": "The first one in static int8 is {faster:.2f} times as fast as the teacher in torch fp32\n"
    "({low:.2f} to {high:.2f}), {size:.1f} % of its size, {points:+.2f} points from it, agreement {agreement:.4f}.",
    "frontier": ["ko-nli's 4 layers become", "those that stay", "minutes", "accuracy", "drop (95 %)", "agreement"],
    "judged": "{rows:,} pairs of KorNLI; the teacher has {teacher:.2f} %.",
    "stayed": "Layers that stayed, counted from 0: {layers}.",
    "search": ["", "found by", "verdict", "against float, points (95 %)", "faster", "size", "minutes"],
    "alone": "row by row {nncf:.2f}x, Octavo's {octavo:.2f}x",
    "found": "- {name}: {chosen}; {verdict} when confirmed; float layers: {layers}",
    "making": ["float graph to saved int8", "MiB", "seconds", "peak MiB"],
    "weights": ["weights of a Linear", "32 x 128, ms", "1 x 32, ms", "KL on KorNLI, 1e-5", "agreement"],
}
KOREAN = ENGLISH | {
    "search": ["", "찾은 방법", "판정", "float 대비, 점 (95 %)", "속도 향상", "크기", "분"],
    "alone": "한 행씩 {nncf:.2f}배, Octavo {octavo:.2f}배",
    "found": "- {name}: {chosen}; 확인 판정 {verdict}; float 레이어: {layers}",
    "model": [
        "",
        "크기, MiB",
        "압축률",
        "초",
        "속도 향상",
        "텍스트부터",
        "단건 지연 시간, ms",
        "정확도",
        "차이(점)",
        "일치율",
        "KL",
        "배치 영향",
    ],
    "torch": "torch fp32",
    "float": "Octavo float",
    "int8": "**Octavo int8**",
    "tensor": "Octavo int8, 텐서마다 스케일 하나",
    "stock": "ONNX Runtime 기본 int8",
    "note": "{n:,}행, KL 단위는 1e-5 nat. {machine}",
    "first": ["", "첫 응답까지, 초"],
    "oldguide": ["크기, MiB", "5,010쌍, 초", "속도 향상", "일치율 (ko-nli)"],
    "shares": "Octavo가 빨라진 몫은 패딩을 없애서 {padding:.1f}배, 엔진과 그래프에서 {engine:.1f}배, int8에서 "
    "{int8:.1f}배입니다. 가이드의 모델은 {old} MiB에서 {new} MiB가 되었습니다.",
    "why": ["", "MiB", "속도 향상", "일치율", "KL", "배치 영향"],
    "why names": {
        "torch quantize_dynamic, saved and loaded": "torch quantize_dynamic, 저장했다가 불러옴",
        "stock ONNX Runtime, as it comes": "ONNX Runtime 도구, 기본 설정",
        "stock ONNX Runtime, best settings": "ONNX Runtime 도구, 가장 좋은 설정",
        "Octavo int8, with your sentences": "Octavo int8, 사용자의 문장으로",
    },
    "wrong": "**틀림**",
    "saturation": "VNNI가 없는 CPU({cpu}, {kind}, {date})에서 KorNLI {n:,}쌍: NNCF의 int8은 OpenVINO에서\n"
    "라벨의 {nncf}만 지킵니다. **말없이 틀립니다**(같은 파일을 float로 계산하면 {floats}). 기본 도구는\n"
    "`reduce_range=True`로 {stock}, CPU를 스스로 살피는 Octavo는 {dynamic}입니다.",
    "threads": "스레드 {}개, ",
}


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" + "|---:" * (len(rows[0]) - 1) + "|", *lines[1:]])


def machine_notes(results: dict, words: dict) -> str:
    """The notes of parts that stand in one table: one where they are alike."""
    return " ".join(dict.fromkeys(machine_note(result, words) for result in results.values()))


def machine_note(result: dict, words: dict) -> str:
    """What a table was measured on, by which version, and when."""
    machine = result["machine"]
    threads = words["threads"].format(machine["threads"]) if "threads" in machine else ""
    return f"{threads}{machine['cpu']} ({machine['kind']}), octavo {machine['packages']['octavo']}, {machine['date']}."
