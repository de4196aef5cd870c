"""The Korean of what reports say, sentence by sentence; its terms are those of docs/glossary.md."""

REPORT = {
    # columns
    "model": "모델",
    "engine": "엔진",
    "MiB": "MiB",
    "smaller": "압축률",
    "seconds": "총 시간(초)",
    "rows/s": "처리량(건/초)",
    "text to answer, rows/s": "텍스트에서 답까지(건/초)",
    "faster": "속도 향상",
    "1 row, ms p50 / p95": "단건 지연 시간(ms) p50 / p95",
    "points": "%p",
    "points (x 100)": "점(×100)",
    "% of the baseline's, below 0 where it rose": "기준 모델 대비 %, 0보다 작으면 나빠짐",
    "{points} (95 % interval)": "차이({points}, 95% 신뢰구간)",
    "accuracy": "정확도",
    "macro-F1": "매크로 F1",
    "micro-F1": "마이크로 F1",
    "all labels right": "라벨 전체 일치",
    "AUC": "AUC",
    "mean error": "평균 절대 오차",
    "Kendall's tau": "켄달 타우",
    "moved, deviations": "변화량(표준편차 단위)",
    "Spearman": "스피어만 상관",
    "Pearson": "피어슨 상관",
    "perplexity": "퍼플렉시티",
    "exact match": "정확히 일치",
    "chrF": "chrF",
    "BLEU": "BLEU",
    "agreement": "예측 일치율",
    "KL x 1e5": "KL × 1e5",
    "cosine": "코사인 유사도",
    "1st percentile": "1백분위수",
    "smallest": "최솟값",
    "margin left": "마진 유지율",
    "entity F1": "개체 F1",
    "precision": "정밀도",
    "recall": "재현율",
    "tags right": "태그 정확도",
    "entity agreement": "개체 일치율",
    "tag agreement": "태그 일치율",
    "F1": "F1",
    "F1 with baseline": "기준 모델과의 F1",
    "recall@10": "recall@10",
    "recall@100": "recall@100",
    "nDCG@10": "nDCG@10",
    "MRR@10": "MRR@10",
    "MAP": "MAP",
    "top 10 kept": "상위 10개 유지율",
    "rank-biased overlap": "순위 편향 겹침(RBO)",
    "vectors": "벡터",
    "rescored": "재채점",
    "bytes": "바이트",
    "yes": "예",
    "no": "아니요",
    "Stored vectors": "저장한 벡터",
    "batch effect": "배치 영향",
    "load, s": "로딩(초)",
    "first answer, s": "첫 응답(초)",
    "peak MiB": "최대 메모리(MiB)",
    "rows": "행 수",
    "baseline": "기준 모델",
    "row": "행 번호",
    "text": "문장",
    "gold": "정답",
    "moved": "변화량",
    "class": "클래스",
    "length": "길이",
    "block": "블록",
    "layer": "레이어",
    "dB": "dB",
    # values and notes
    "{value:+.2f} ({low:+.2f} to {high:+.2f})": "{value:+.2f} ({low:+.2f} ~ {high:+.2f})",
    "{low}-{high} tokens": "{low}~{high}토큰",
    "{n:,} rows": "{n:,}건",
    "{n:,} texts": "문장 {n:,}개",
    "{n:,} tokens": "토큰 {n:,}개",
    "{n:,} rows cut at the limit": "{n:,}건은 최대 길이에서 잘림",
    "tokenizing took {s:.2f} s": "토큰화 {s:.2f}초",
    "{threads} threads, {cpu} ({kind}); identical batches, interleaved, ": (
        "스레드 {threads}개, {cpu} ({kind}); 모든 모델에 같은 배치를 번갈아 실행, "
    ),
    "{threads} threads, {cpu} ({kind}); the same rows in each batch, interleaved, ": (
        "스레드 {threads}개, {cpu} ({kind}); 배치마다 같은 데이터를 모든 모델이 번갈아 실행, "
    ),
    "each model reads with its own tokenizer: {models}": "모델마다 자체 토크나이저 사용: {models}",
    "{gain}; its vectors have another width, so labels alone could tell how near it is.": (
        "{gain}; 벡터 차원이 달라서 라벨이 있어야 얼마나 비슷한지 알 수 있습니다."
    ),
    "median of {rounds} rounds": "{rounds}회 측정의 중앙값",
    "timed once": "1회만 측정",
    "{name}: NaN or infinity in {n:,} answers": "{name}: 출력 {n:,}건에 NaN 또는 무한대가 있음",
    "{:.0f} %": "{:.0f}%",
    "no labels: this shows how near the models are to the first one, not how right any of them is": (
        "정답 라벨이 없으므로 기준 모델과 얼마나 비슷한지만 알 수 있고, 얼마나 정확한지는 알 수 없음"
    ),
    "{name}: {worse:,} rows that only the baseline has right, {better:,} that only this one has; "
    "McNemar's exact p {p:.2g}": (
        "{name}: 기준 모델만 맞힌 데이터 {worse:,}건, 이 모델만 맞힌 데이터 {better:,}건; McNemar 정확 검정 p = {p:.2g}"
    ),
    "{name}: by how far its logits moved, accuracy differs by {value:+.2f} points (95 % interval {low:+.2f} to "
    "{high:+.2f}); the counted difference decides": (
        "{name}: 로짓이 움직인 크기로 추정한 정확도 차이 {value:+.2f}%p(95% 신뢰구간 {low:+.2f} ~ {high:+.2f}); "
        "판정은 실제로 센 차이를 따름"
    ),
    "{name} could not be run: {reason}": "{name} 실행할 수 없음: {reason}",
    "unstable: the rounds differ by more than {share}: {models}": (
        "측정 불안정: 회차 간 시간 편차가 {share}를 넘음: {models}"
    ),
    "{:.2f}x, UNSURE": "{:.2f}배, UNSURE",
    "machine busy: {told}; speeds are UNSURE, quality is not affected": (
        "측정 중 다른 작업이 실행됨: {told}; 속도는 UNSURE이며, 품질 수치에는 영향 없음"
    ),
    "other processes took {} of the cores": "다른 프로세스가 CPU의 {} 사용",
    "other machines took {} of the cores": "다른 가상 머신이 CPU의 {} 사용",
    "models waited for a core {} of their time": "모델이 실행 시간의 {} 동안 CPU를 기다림",
    "models ran on no core {} of their time": "모델이 측정 시간의 {} 동안 실행되지 못함",
    "whether the machine was busy with other work is not known here: speeds are as they were measured": (
        "이 시스템에서는 측정 중 다른 작업이 있었는지 알 수 없음: 속도는 측정값 그대로임"
    ),
    # the verdict
    "One model alone: {name}, {mib:.1f} MiB, {speed:,.0f} rows/s.": (
        "비교 대상 없음: {name}, {mib:.1f} MiB, 초당 {speed:,.0f}건."
    ),
    "PASS: the budget is kept by {names}.": "PASS: 허용 기준을 충족합니다({names}).",
    "FAIL: the budget is broken by {names}.": "FAIL: 허용 기준을 충족하지 못합니다({names}).",
    "UNSURE: the data does not decide whether the budget is kept by {names}.": (
        "UNSURE: 이 데이터만으로는 허용 기준을 충족하는지 판단할 수 없습니다({names})."
    ),
    "UNSURE: the machine was busy, so it is not decided whether the budget is kept by {names}.": (
        "UNSURE: 측정 중 다른 작업이 있어 허용 기준을 충족하는지 판단할 수 없습니다({names})."
    ),
    "{limit}: {value} was measured, but the machine was busy": "{limit}: 측정값 {value}, 측정 중 다른 작업이 있었음",
    "{name} has {size:.1%} of the baseline's size; its speed is UNSURE, since the machine was busy": (
        "{name}: 크기는 기준 모델의 {size:.1%}, 측정 중 다른 작업이 있어 속도는 UNSURE"
    ),
    "{name} has {size:.1%} of the baseline's size and is {faster:.2f}x as fast": (
        "{name}: 크기는 기준 모델의 {size:.1%}, 속도는 {faster:.2f}배"
    ),
    "{gain}; {n:,} of its answers are NaN or infinity.": "{gain}, 출력 {n:,}건이 NaN 또는 무한대입니다.",
    "{gain}; its {score} differs by {value:+.2f} {unit}.": "{gain}, {score} 차이는 {value:+.2f}{unit}입니다.",
    "{gain}; its {score} differs by {value:+.2f} {unit} (95 % interval {low:+.2f} to {high:+.2f}).": (
        "{gain}, {score} 차이는 {value:+.2f}{unit}(95% 신뢰구간 {low:+.2f} ~ {high:+.2f})입니다."
    ),
    "{gain}; {closeness} with it is {value}, of labels nothing is known.": (
        "{gain}. 기준 모델과의 {closeness}: {value}. 정답 라벨이 없어 정확도는 알 수 없습니다."
    ),
    "drop at most {} (below 0: it fell)": "점수 하락 {} 이하(음수: 하락)",
    "perplexity higher by at most {} (below 0: it rose)": "퍼플렉시티 상승 {} 이하(음수: 상승)",
    "{:.2f} %": "{:.2f}%",
    "{:+.2f} %": "{:+.2f}%",
    "faster at least {}": "속도 {} 이상",
    "size at most {}": "기준 모델 대비 크기 {} 이하",
    "agreement at least {}": "예측 일치율 {} 이상",
    "cosine at least {}": "코사인 유사도 {} 이상",
    "1st percentile of the cosines at least {}": "코사인 유사도의 1백분위수 {} 이상",
    "{:.2f} points": "{:.2f}%p",
    "{:+.2f} points": "{:+.2f}%p",
    "{:.2f} points (x 100)": "{:.2f}점(×100)",
    "{:+.2f} points (x 100)": "{:+.2f}점(×100)",
    "{:.0f}": "{:.0f}",
    "answers with NaN or infinity at most {}": "NaN 또는 무한대인 출력 {}건 이하",
    "{:.2f}x": "{:.2f}배",
    "{:.1%}": "{:.1%}",
    "{:.2%}": "{:.2%}",
    "{:.4f}": "{:.4f}",
    "examples with labels": "라벨이 있는 데이터",
    "a model that chooses": "답을 고르는 모델",
    "a sentence embedder": "문장 임베딩 모델",
    "a timing that does not fail": "실패하지 않는 측정",
    "{limit}: nothing to decide it on, this needs {needs}": "{limit}: 판단할 근거가 없음 ({needs} 필요)",
    "{limit}: it is {value}": "{limit}: 측정값 {value}",
    "{limit}: {value}, at least {lower} and at most {upper} with 95 % confidence each": (
        "{limit}: 측정값 {value}, 각각 95% 신뢰수준에서 {lower} 이상, {upper} 이하"
    ),
    "; about {n:,} rows would decide": "; 약 {n:,}건이 있으면 판단 가능",
    "{limit}: {value}, with 95 % confidence at most {bound}": "{limit}: 측정값 {value}, 95% 신뢰수준에서 {bound} 이하",
    "{limit}: {value}, with 95 % confidence at least {bound}": "{limit}: 측정값 {value}, 95% 신뢰수준에서 {bound} 이상",
    # the page
    "Comparison of models": "모델 비교 보고서",
    "The budget, limit by limit": "기준별 판정",
    "Quality": "품질",
    "Size and speed": "크기와 속도",
    "Time and quality": "시간 대비 품질",
    "Further left is faster, further up is better; bars are 95 % intervals.": (
        "왼쪽일수록 빠르고 위쪽일수록 품질이 좋습니다. 막대는 95% 신뢰구간입니다."
    ),
    "The shaded area keeps the budget.": "음영 영역이 허용 기준을 충족하는 범위입니다.",
    "milliseconds per row, in batches": "건당 시간(ms, 배치 처리)",
    "Latency of single rows": "단건 지연 시간",
    "Boxes hold the middle half, lines reach from the 5th to the 95th percentile, the stroke is the median.": (
        "상자는 가운데 50%, 선은 5~95백분위수, 굵은 세로선은 중앙값입니다."
    ),
    "The axis is logarithmic: equal ratios are equally far apart.": "로그 축입니다. 같은 비율이면 간격도 같습니다.",
    "milliseconds": "밀리초(ms)",
    "By class and by length": "클래스별·길이별 차이",
    "Difference from the baseline with 95 % intervals; where a line crosses zero, it may be chance.": (
        "기준 모델과의 차이와 95% 신뢰구간입니다. 구간이 0을 포함하면 우연에 의한 차이일 수 있습니다."
    ),
    "Groups of fewer than {n} rows are left out.": "{n}건 미만인 그룹은 표시하지 않습니다.",
    "difference, {unit}": "차이({unit})",
    "Error of each layer": "레이어별 오차",
    "Signal over noise of each layer's output against float, in dB: higher is closer.": (
        "float 대비 각 레이어 출력의 신호 대 잡음비(dB)입니다. 클수록 float 모델에 가깝습니다."
    ),
    "The most changed examples": "가장 많이 달라진 예문",
    "Changed predictions first; those whose score only moved are folded.": (
        "예측이 바뀐 예문이 먼저이고, 점수만 달라진 예문은 접어 두었습니다."
    ),
    "No label changed.": "바뀐 라벨이 없습니다.",
    "{n:,} more, which moved less": "덜 달라진 예문 {n:,}개 더 보기",
    "How to reproduce": "재현 방법",
    "command": "명령",
    "data": "데이터",
    "machine": "측정 환경",
    "threads": "스레드 수",
    "versions": "버전",
    "recipe": "레시피",
    "target": "대상 CPU",
    "weights, SHA-256": "가중치 SHA-256",
    "made from": "원본 체크포인트",
    "examples calibrated on, SHA-256": "캘리브레이션 데이터 SHA-256",
    "a sample of {n:,} rows, seed {seed}": "표본 {n:,}건, 시드 {seed}",
    "all rows": "전체",
    "as a table": "표로 보기",
    "scroll sideways": "좌우로 스크롤",
    "Made by Octavo {version}.": "Octavo {version}에서 생성했습니다.",
    "{title}, {name}": "{title}, {name}",
    "Comparison": "비교 결과",
    # a search
    "Search for a model": "모델 탐색 보고서",
    "The search has not ended.": "탐색이 아직 끝나지 않았습니다.",
    "candidate": "후보",
    "step": "단계",
    "against float": "float 대비",
    "against float (%)": "float 대비(%)",
    "1 row, ms p95": "단건 지연 시간(ms) p95",
    "verdict": "판정",
    "reason": "이유",
    "changed": "바꾼 것",
    "float": "float 유지",
    "per token": "토큰별",
    "subset": "일부 데이터",
    "full": "전체 측정",
    "more": "데이터 추가",
    "timing": "속도 측정",
    "sensitivity": "레이어 민감도",
    "confirmation": "확인",
    "ladder": "단계별 복구",
    "other observer": "다른 관측기",
    "smoothing strength": "스무딩 강도",
    "embeddings of more bits": "임베딩 비트 늘리기",
    "per-token activations": "토큰별 활성값 스케일",
    "worst layers float": "가장 나쁜 레이어 float 유지",
    "16-bit storage": "16비트 저장",
    "Nothing could be timed, so nothing was chosen: {reason}": "속도를 잴 수 없어 아무것도 고르지 않았습니다: {reason}",
    "Do not quantize: no candidate keeps the budget.": (
        "양자화하지 않는 것이 좋습니다: 허용 기준을 충족하는 후보가 없습니다."
    ),
    "on {n:,} examples that the search never saw: {figure}": "탐색에 쓰지 않은 데이터 {n:,}건에서: {figure}",
    "it was chosen by {n:,} others, which flatter it: {figure}": (
        "선택에 쓴 다른 데이터 {n:,}건에서(실제보다 좋게 나옴): {figure}"
    ),
    "{faster:.2f}x as fast as the float graph ({low:.2f} to {high:.2f}), {ms:.1f} ms for a row (p95)": (
        "float 그래프 대비 {faster:.2f}배 속도({low:.2f} ~ {high:.2f}), 단건 {ms:.1f}ms(p95)"
    ),
    "the machine was busy while it was timed: no speed here is to be believed": (
        "속도를 재는 동안 다른 작업이 있었음: 여기의 속도는 믿을 수 없음"
    ),
    "{layer} stays float: in int8, alone, it moved answers by {moved:.2g} (its error {db:.1f} dB)": (
        "{layer}은(는) float: 혼자 int8일 때 답을 {moved:.2g}만큼 움직였습니다(오차 {db:.1f} dB)"
    ),
    "stored errors and real damage of {n} layers of {name}: rank correlation {value:.2f}": (
        "{name}: 레이어 {n}개의 저장된 오차와 실제 손실의 순위 상관 {value:.2f}"
    ),
    "about {n:,} rows would decide": "약 {n:,}건이 있으면 판단 가능",
    "--pick {n}: {name}": "--pick {n}: {name}",
    "What was tried": "시도한 후보",
    "What was dropped": "탈락한 후보와 이유",
    "The ladder": "단계별 복구",
    "What single layers cost": "레이어 하나의 손실",
    "Another point of the front than the one that was chosen, and not confirmed.": (
        "선택된 것과 다른 파레토 지점이며, 확인 데이터로 다시 측정하지 않았습니다."
    ),
    "Size and quality of all that was tried": "시도한 모든 후보의 크기와 품질",
    "Further left and further up are better; bars are 95 % intervals. The shaded area keeps the limit.": (
        "왼쪽일수록, 위쪽일수록 좋습니다. 막대는 95% 신뢰구간이고, 음영 영역이 품질 기준을 충족합니다."
    ),
    "The chosen recipe": "선택된 레시피",
    "checkpoint": "체크포인트",
    "examples": "데이터 분할",
    "calibration": "캘리브레이션",
    "selection": "선택",
    "never parted": "나누지 않은 것",
    "examples that share a text": "같은 문장이 있는 데이터",
    "examples with the same texts": "문장이 모두 같은 데이터",
    "budget": "허용 기준",
    "seed": "시드",
}
