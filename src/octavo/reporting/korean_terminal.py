"""The Korean of what the command line says beside reports; its terms are those of docs/glossary.md."""

TERMINAL = {
    "error": "오류",
    "warning": "경고",
    "interrupted": "중단되었습니다",
    "error: a defect of Octavo: {name}: {reason}; next: set OCTAVO_DEBUG=1": (
        "오류: Octavo의 결함: {name}: {reason}; 다음: OCTAVO_DEBUG=1을 설정하고 다시 실행하세요"
    ),
    "{what} in {where}": "{what} ({where})",
    "got": "받은 값",
    "allowed": "허용되는 값",
    "next": "다음",
    "written to {path}": "저장 위치: {path}",
    "the result is on {path}": "결과를 모델 카드에 적었습니다: {path}",
    ", about {s:,.0f} s left": ", 약 {s:,.0f}초 남음",
    "{done:,.0f} of {total:,.0f}": "{done:,.0f}/{total:,.0f}",
    ", {n} of them cut at the limit": ", 그중 {n}건은 최대 길이에서 잘림",
    'reading JSON lines from the terminal, such as {"text": "..."}; the end is Ctrl-D': (
        '터미널에서 JSON 줄을 읽습니다. 예: {"text": "..."}; 끝내려면 Ctrl-D'
    ),
    # quantize
    "part": "부분",
    "stored as": "저장 형식",
    "layers": "레이어",
    "float MiB": "float MiB",
    "weight error, dB": "가중치 오차(dB)",
    "{dtype} (7 of 8 bits used)": "{dtype} (8비트 중 7비트 사용)",
    "{low:.1f} to {high:.1f}": "{low:.1f} ~ {high:.1f}",
    "{mib:.1f} MiB of {before:.1f} ({share:.1f} %; the checkpoint is stored as {dtype})": (
        "{before:.1f} MiB에서 {mib:.1f} MiB로({share:.1f}%; 체크포인트의 저장 형식은 {dtype})"
    ),
    "{mib:.1f} MiB of {before:.1f} ({share:.1%})": "{before:.1f} MiB에서 {mib:.1f} MiB로({share:.1%})",
    "format": "형식",
    "method": "방법",
    "engine here": "이 시스템의 엔진",
    "calibrated on {n:,} examples, {tokens:,} tokens": "데이터 {n:,}건, 토큰 {tokens:,}개로 캘리브레이션",
    "Of {pairs:,} sums of two products, on its own activations, {before:,} would overflow 16 bits with 8-bit weights "
    "on a CPU without VNNI, and {now:,} do with these": (
        "모델 자신의 활성값으로 두 곱의 합 {pairs:,}개를 보면, VNNI가 없는 CPU에서 8비트 가중치로는 "
        "{before:,}개가 16비트를 넘어 포화되고, 이 가중치로는 {now:,}개가 포화됨"
    ),
    "all {n} layers are {kinds}; biases and normalizations stay float": (
        "레이어 {n}개 모두 {kinds}; 편향과 정규화는 float 유지"
    ),
    " or ": " 또는 ",
    "{n} of {all} layers stayed float, {reason}: {paths}": "레이어 {all}개 중 {n}개는 float 유지, {reason}: {paths}",
    "loads on this CPU": "이 CPU에서 실행 가능",
    "does not load on this CPU": "이 CPU에서 실행할 수 없음",
    "method {method} was chosen: no examples to calibrate on (--calibrate FILE)": (
        "방법으로 {method} 선택: 캘리브레이션 데이터가 없습니다(--calibrate FILE)"
    ),
    "method {method}, mixed, was chosen: there are examples; with --method static OpenVINO runs it too": (
        "방법으로 {method}, mixed 선택: 캘리브레이션 데이터가 있습니다. OpenVINO도 쓰려면 --method static"
    ),
    "method {method} was chosen: the checkpoint was trained for int8": (
        "방법으로 {method} 선택: int8에 맞춰 학습한 체크포인트입니다"
    ),
    "next, with examples of yours: {command} --data FILE": "다음, 여러분의 데이터로: {command} --data FILE",
    # search
    "{faster:.2f}x as fast as float, {ms:.1f} ms for a row alone (p95)": (
        "float 대비 {faster:.2f}배, 단건 {ms:.1f}ms(p95)"
    ),
    "timed": "측정",
    "left": "남음",
    "{n} candidates:": "후보 {n}개:",
    "{n:,} for {name}": "{name} {n:,}건",
    "each on {first:,} first; those that are not clear failures on {more:,}, or as many as decide": (
        "먼저 각각 {first:,}건으로, 확실한 실패가 아닌 것은 {more:,}건 또는 판정에 필요한 만큼"
    ),
    "about {m:.1f} minutes on this machine, more where a ladder is climbed; nothing was written": (
        "이 시스템에서 약 {m:.1f}분, 단계별 복구를 하면 더 걸림; 아무것도 저장하지 않음"
    ),
    "it was measured on {engine}: run it with --engine {engine}": (
        "{engine}에서 측정했습니다: --engine {engine}으로 실행하세요"
    ),
    # predict on a cluster
    ", {n:,} of them with an error": ", 그중 오류 {n:,}건",
    "all parts were there": "모든 부분이 이미 있음",
    # trim and distill
    "{n:,} of {all:,} rows stay: {chosen:,} were chosen by how often they come": (
        "{all:,}행 중 {n:,}행이 남음: {chosen:,}행은 나온 횟수로 고름"
    ),
    "texts that were counted": "횟수를 센 문장",
    "texts that were held out": "따로 둔 문장",
    "the same logits to the last bit": "마지막 비트까지 같은 로짓",
    "logits that differ by {difference:.1g}": "{difference:.1g}만큼 다른 로짓",
    "of the tokens that stay {exact}": "남은 토큰에서 {exact}",
    "texts whose tokens all stay: the same tokens in all, and {exact} in the {n} that were run": (
        "토큰이 모두 남은 문장: 토큰은 모두 같고, 실행해 본 {n}개에서 {exact}"
    ),
    "split otherwise: {word!r} was {before}, is {after}": "다르게 나뉨: {word!r} 전 {before}, 후 {after}",
    "{share:.2%} of {n:,} change ({low:.2%} to {high:.2%}), and of their tokens {tokens:.3%} ({least:.3%} to "
    "{most:.3%}); {longer:+.2%} tokens": (
        "{n:,}개 중 {share:.2%}가 바뀜({low:.2%} ~ {high:.2%}), 토큰으로는 {tokens:.3%}({least:.3%} ~ {most:.3%}); "
        "토큰 수 {longer:+.2%}"
    ),
    "; {n:,} more UNK tokens": "; UNK 토큰 {n:,}개 증가",
    "layers {layers} of {all} stay: {how}": "레이어 {all}개 중 {layers} 유지: {how}",
    "as you said": "지정한 대로",
    "the least loss before training, of all sets": "가능한 모든 조합 가운데 학습 전 손실이 가장 작음",
    "the least loss before training, one after the other left out": "하나씩 빼며 학습 전 손실이 가장 작은 것을 고름",
    "evenly spaced": "같은 간격",
    "{n:,} of {all:,} units stay in the feed-forward part of each": "레이어마다 피드포워드 {all:,}유닛 중 {n:,} 유지",
    "distance to the answers before: {first:.4f} untrained, {best:.4f} after step {step:,} of {all:,}, which is kept": (
        "원래 출력과의 거리: 학습 전 {first:.4f}, {all:,}단계 중 {step:,}단계 뒤 {best:.4f}(이것을 저장)"
    ),
    "on {n:,} texts that neither trained nor chose it: {told}": "학습에도 선택에도 쓰지 않은 문장 {n:,}개에서: {told}",
    "the same answer to {value:.2%} of them ({low:.2%} to {high:.2%})": (
        "그중 {value:.2%}에서 같은 예측({low:.2%} ~ {high:.2%})"
    ),
    # inspect and doctor
    "{n} files have the hashes that octavo.json lists; answers deviate by {deviation:.2g}, more than {allowed:.2g} "
    "would be too much": ("파일 {n}개의 해시가 octavo.json과 같음; 출력 편차 {deviation:.2g}, 허용 한계 {allowed:.2g}"),
    "not checked, as octavo.json has no hash of them: {names}": "octavo.json에 해시가 없어 확인하지 않음: {names}",
    " and {n} more": " 외 {n}개",
    "task {task} ({reason}); {runs}": "태스크 {task} ({reason}); {runs}",
    "octavo.load runs it as {task} (in torch)": "octavo.load가 {task}로 실행(torch에서)",
    "octavo.load runs it as {task}": "octavo.load가 {task}로 실행",
    "octavo compare runs it, with a tokenizer beside it, as {task}": (
        "같은 폴더에 토크나이저가 있으면 octavo compare가 {task}로 실행"
    ),
    "{verb} does not run this task yet": "{verb}는 아직 이 태스크를 실행하지 못함",
    "all weights are float": "모든 가중치가 float",
    "symmetric": "대칭",
    "asymmetric": "비대칭",
    "weight-only: {weights} integer weights, float activations": "weight-only: 정수 가중치({weights}), float 활성값",
    "{method} quantization: {weights} integer weights, {activations} activations": (
        "{method} 양자화: 정수 가중치({weights}), 활성값({activations})"
    ),
    "float graph {made}; its largest difference from {reference}: {off:.1g}": (
        "float 그래프: {made}; {reference}와의 가장 큰 차이 {off:.1g}"
    ),
    "written from config and weights": "설정과 가중치에서 직접 작성",
    "exported by transformers": "transformers로 내보냄",
    "int8 would save {mib:.1f} MiB more ({share:.0f} %), of weights in float": (
        "float인 가중치를 int8로 바꾸면 {mib:.1f} MiB({share:.0f}%) 더 줄어듦"
    ),
    "opset {opsets}; producer {maker}; checker: {found}": "opset {opsets}; 만든 프로그램 {maker}; 검사: {found}",
    "unknown": "알 수 없음",
    "operators": "연산자",
    "weights": "가중치",
    "share": "비율",
    "pass": "그래프 변환",
    "applied": "적용",
    "nodes": "노드",
    "largest difference": "가장 큰 차이",
    "{n} times": "{n}회",
    "found nothing": "해당 없음",
    "no layer's output was measured: all are float": "측정한 레이어 출력이 없음: 모두 float",
    "signal over noise of each layer's output against float, in dB; errors of earlier layers are in it; the lowest: "
    "{lowest:.1f} dB, {path}": (
        "float 대비 각 레이어 출력의 신호 대 잡음비(dB), 앞 레이어의 오차 포함; 가장 낮은 곳: {lowest:.1f} dB, {path}"
    ),
    "none of them": "없음",
    "{memory}, of which this process may use {limit:.1f}": "{memory}, 이 프로세스가 쓸 수 있는 것은 {limit:.1f}",
    "{usable} of {all} usable": "{all}개 중 {usable}개 사용 가능",
    "here": "이 시스템",
    "instructions": "명령어 집합",
    "not": "없음",
    "cores": "코어",
    "memory": "메모리",
    "not installed": "설치되지 않음",
    "int8 here": "이 시스템의 int8",
    "problem": "문제",
    # the profile
    "matrix products": "행렬 곱",
    "attention": "어텐션",
    "quantizing": "양자화",
    "embeddings": "임베딩",
    "the rest": "나머지",
    "int8 operations, 1e9/s": "int8 연산(1e9/초)",
    "of the peak here": "최대 성능 대비",
    "where the time goes, by ONNX Runtime's profiler on {n:,} rows; the peak is that of a large u8 x s8 product here: "
    "{peak:.0f}e9 operations/s": (
        "{n:,}건에서 ONNX Runtime 프로파일러로 잰 시간 분포; 최대 성능은 여기서 큰 u8 x s8 곱셈의 {peak:.0f}e9 연산/초"
    ),
    "largest of the rest": "나머지 중 큰 것",
}
# What comes from elsewhere: names of steps, and reasons that are in octavo.json; `{}` for what varies.
ELSEWHERE = {
    "cutting the files into blocks": "파일을 블록으로 나누기",
    "checkpoint": "체크포인트",
    "artifact": "아티팩트",
    "embedding": "임베딩",
    "feed-forward": "피드포워드",
    "head": "헤드",
    "reading the checkpoint": "체크포인트 읽기",
    "reading the texts": "문장 읽기",
    "reading models and data": "모델과 데이터 읽기",
    "reading the checkpoint and the data": "체크포인트와 데이터 읽기",
    "writing the checkpoint": "체크포인트 저장",
    "writing the artifact": "아티팩트 저장",
    "writing the graph": "그래프 작성",
    "exporting": "내보내기",
    "optimizing the graph": "그래프 최적화",
    "rounding weights": "가중치 반올림",
    "measuring layers": "레이어 측정",
    "calibrating": "캘리브레이션",
    "ranges": "범위",
    "histograms": "히스토그램",
    "comparing with the trained model": "학습한 모델과 비교",
    "loading": "로딩",
    "predicting": "예측",
    "timing": "속도 측정",
    "timing from texts to answers": "텍스트에서 답까지 속도 측정",
    "timing single rows": "단건 지연 시간 측정",
    "profiling": "프로파일링",
    "training": "학습",
    "choosing layers": "레이어 고르기",
    "choosing tokens": "토큰 고르기",
    "asking the model": "모델 실행",
    "asking the trimmed model": "줄인 모델 실행",
    "asking the model about texts held out": "따로 둔 문장으로 모델 실행",
    "waiting": "대기",
    "the machine is busy with other work": "다른 작업이 실행 중",
    "one scale per output channel": "출력 채널마다 스케일 하나",
    "one scale per row": "행마다 스케일 하나",
    "its weight has values that are not finite": "가중치에 유한하지 않은 값이 있음",
    "so few rows that int8 shifts all tokens alike and saves nothing": (
        "행이 아주 적어서 int8이 모든 토큰을 똑같이 움직이고 줄어드는 것이 없음"
    ),
    "the method is float": "방법이 float",
    "kept by the rule {}": "규칙 {}에 따라 float 유지",
    "stored in 16 bits": "16비트로 저장",
    "stored in 16 bits by the rule {}": "규칙 {}에 따라 16비트로 저장",
    "a number of its weight is too large for 16 bits": "가중치의 수가 16비트에 담기지 않을 만큼 큼",
    "one scale and zero point per {} numbers of a row": "행의 수 {}개마다 스케일과 영점 하나",
    "one scale per {} inputs of an output channel, {}": "출력 채널의 입력 {}개마다 스케일 하나, {}",
    "rows of the codes of {}": "{}의 코드를 행으로 읽음",
    "rescued from PyTorch's packed parameters": "PyTorch의 묶인 값에서 복구",
    "OpenVINO would be faster ({}): pip install 'octavo[openvino]'": (
        "OpenVINO가 더 빠름({}): pip install 'octavo[openvino]'"
    ),
    "inputs and outputs are of no task that is known": "입출력이 알려진 태스크와 다름",
    "no output can be scores or vectors: {}": "점수나 벡터일 수 있는 출력이 없음: {}",
    "it has a cache: {}": "캐시가 있음: {}",
    "outputs start_logits and end_logits": "출력이 start_logits와 end_logits",
    "input_ids has three dimensions": "input_ids가 3차원",
    "output {}": "출력 {}",
    "output {} is [batch, {}]": "출력 {}의 모양이 [배치, {}]",
    "{}, the vocabulary; {}": "{}(어휘 크기); {}",
    "{}, the hidden size": "{}(은닉 크기)",
    "single layers are rounded per token": "일부 레이어가 토큰별 스케일을 씀",
    "the usual one": "기본 엔진",
    "the format is torch": "형식이 torch",
    "OpenVINO's int8 is faster for larger models only": "OpenVINO의 int8은 더 큰 모델에서만 빠름",
    "static int8 on a CPU with VNNI": "VNNI가 있는 CPU의 정적 int8",
    "16-bit weights on a CPU that computes in bf16": "bf16을 계산하는 CPU의 16비트 가중치",
    "this CPU has no VNNI, without which OpenVINO's int8 is slow": (
        "이 CPU에는 VNNI가 없고, 그러면 OpenVINO의 int8이 느림"
    ),
    "target {}": "대상 CPU {}",
    "engine {} for float, dynamic int8 and mixed": "엔진 {}(float, 동적 int8, mixed)",
    "engine {} for --method static": "엔진 {}(--method static)",
    "threads {}": "스레드 {}",
    "by default, from {}": "기본값, 근거: {}",
    "affinity and control group": "CPU 선호도와 컨트롤 그룹",
    "biases, scales, constants": "편향, 스케일, 상수",
    "valid": "이상 없음",
    "ready": "준비됨",
    "ready for BERT and its kin; other models need pip install 'octavo[convert]'": (
        "BERT 계열은 준비됨; 다른 모델은 pip install 'octavo[convert]' 필요"
    ),
    "8-bit weights: they are exact here": "8비트 가중치: 여기서는 정확함",
    "weights in pairs of 8 bits together: products of any 8-bit ones saturate here": (
        "둘을 합쳐 8비트인 가중치: 여기서는 8비트 가중치의 곱이 포화될 수 있음"
    ),
    "faster than torch fp32 on batches; by how much on AMX octavo compare tells with the model": (
        "배치에서 torch fp32보다 빠름; AMX에서 얼마나 빠른지는 그 모델로 octavo compare를 실행해 확인"
    ),
    "2 to 3 times the speed of torch fp32 on batches is usual; Octavo has not been measured there yet": (
        "배치에서 torch fp32의 2~3배 속도가 보통; Octavo는 아직 여기서 측정하지 않음"
    ),
    "without VNNI about 1.5 to 1.9 times the speed of torch fp32 on batches and about 3 times on single short texts; a "
    "quarter of the size": (
        "VNNI가 없으면 torch fp32 대비 배치에서 약 1.5~1.9배, 짧은 글 한 건에서 약 3배; 크기는 4분의 1"
    ),
    "a quarter of the size; no gain in speed is promised without AVX2 or ARM's dot product": (
        "크기는 4분의 1; AVX2나 ARM의 내적 명령이 없으면 속도 향상은 약속하지 않음"
    ),
}
