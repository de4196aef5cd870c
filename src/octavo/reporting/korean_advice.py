"""The Korean of what is allowed and of what to do next, as errors say it, and of warnings; `{}` for what varies."""

ADVICE = {
    # what is allowed
    "{} bytes": "{}바이트",
    "letters, digits, _ - .": "영문자, 숫자, _ - .",
    "{} with {}": "{}와(과) {}",
    "{} to {}": "{}~{}",
    "1 to {}, of {}": "1~{}, 전체 {}",
    "1 to {}, the window": "1~{}, 창의 크기",
    "a number, 6, or numbers with commas, 0,2": "수(6) 또는 쉼표로 나눈 수들(0,2)",
    "such as {}": "예: {}",
    "give the tokenizer a mask token": "토크나이저에 마스크 토큰 추가",
    "{}, such as {}": "{}, 예: {}",
    "such as 10000000": "예: 10000000",
    "NAME=VALUE, such as top_k=3": "NAME=VALUE, 예: top_k=3",
    "a list of texts": "문장의 목록",
    "{} (or ids from 0 to {})": "{} (또는 0~{}의 아이디)",
    "0 or 1": "0 또는 1",
    "two or more": "둘 이상",
    "0, 1, or a grade": "0, 1 또는 등급",
    "a list of objects, or an object with a data list": "객체의 목록이거나 data 목록이 있는 객체",
    "no --columns": "--columns 없이",
    '[{"text": ...}] or {"text": [...]}': '[{"text": ...}] 또는 {"text": [...]}',
    "above {}": "{} 초과",
    "none": "없음",
    "NVIDIA GPUs from 8.9 (Ada, Hopper)": "8.9 이상의 NVIDIA GPU(Ada, Hopper)",
    "a list of names": "이름의 목록",
    "1 or 2": "1 또는 2",
    "one dimension, such as table['text']": "1차원, 예: table['text']",
    "an iterable": "반복 가능한 객체",
    "as many as texts": "문장과 같은 수",
    "one output, or an embedder": "출력 하나이거나 임베딩 모델",
    "1 or more": "1 이상",
    "1 or more, or None": "1 이상 또는 None",
    "1 or more, or None for all": "1 이상, 모두는 None",
    "{} or more": "{} 이상",
    "0 or more": "0 이상",
    "1 at least": "1 이상",
    "2 at least": "2 이상",
    "above 0, 1 at most": "0 초과 1 이하",
    "{} dimensions": "{}차원",
    "{}, {} layers": "{}, 레이어 {}개",
    "--format torch --method dynamic, without other settings": "다른 설정 없이 --format torch --method dynamic",
    "{}, that of int8 from float": "{}, int8과 float의 차이",
    "one kind in a job": "한 작업에 한 종류",
    "one list of num_hidden_layers = {} modules of a class": (
        "같은 클래스의 모듈 num_hidden_layers = {}개로 된 목록 하나"
    ),
    "a tensor of {} rows": "행이 {}개인 텐서",
    "a word, or a list of words": "단어 또는 단어의 목록",
    "{}, one for each label": "{}, 라벨마다 하나",
    "up to {}": "{} 이하",
    "{} names": "이름 {}개",
    "ids 0 to {}, each with a name": "이름이 있는 아이디 0~{}",
    "none: every weight is taken": "없음: 모든 가중치가 쓰임",
    "{}, as in the first line": "{}, 첫 줄과 같게",
    "0 to {}, A to {}, or the text of a choice": "0~{}, A~{} 또는 선택지의 문장",
    "{}, and {}, or choice1, choice2, ...": "{} 및 {}, 또는 choice1, choice2, ...",
    "{} of the model": "모델의 라벨 {}",
    "a list of words under {}": "{} 아래의 단어 목록",
    "names, or ids from 0 to {}": "이름 또는 0~{}의 아이디",
    "ids below {}, the rows of its table (vocab_size)": "{} 미만의 아이디(임베딩 표의 크기 vocab_size)",
    'a string, a tuple (a, b), or {"text": a, "text_pair": b}': (
        '문자열, 튜플 (a, b) 또는 {"text": a, "text_pair": b}'
    ),
    "none: {} has no modes": "없음: {}에는 모드가 없음",
    "an embedder, and data of queries and passages": "임베딩 모델과, 질의와 지문의 데이터",
    "an object with {}": "{}이(가) 있는 객체",
    "finite numbers, [2, {}]": "유한한 수, [2, {}]",
    "take onnxruntime, or make the artifact by --method static, without mixed and such rules": (
        "onnxruntime을 쓰거나, mixed와 그런 규칙 없이 --method static으로 다시 생성"
    ),
    "Linear layers": "Linear 레이어",
    "embeddings, or the method weight-only": "임베딩, 또는 weight-only 방법",
    "none: the model has no prompts": "없음: 모델에 프롬프트가 없음",
    "numbers from 0 to {}, rising": "0~{}의 수, 오름차순",
    "encoders of other tasks": "다른 태스크의 인코더",
    "the same to the last bit": "마지막 비트까지 같은 값",
    "one Linear into intermediate_size and one back": "intermediate_size로 가는 Linear 하나와 돌아오는 Linear 하나",
    "a {} in each": "문장마다 {}",
    '{"text": ..., "choices": [two or more]}, or a tuple (text, choices)': (
        '{"text": ..., "choices": [둘 이상]} 또는 튜플 (text, choices)'
    ),
    '{"question": ..., "context": ...}, or a tuple of both': '{"question": ..., "context": ...} 또는 둘의 튜플',
    "{}, as where the search was started, with {} CPUs": "탐색을 시작한 곳과 같은 {}, CPU {}개",
    "max_drop, or without labels min_agreement or min_cosine": (
        "max_drop, 라벨이 없으면 min_agreement 또는 min_cosine"
    ),
    "{} (did you mean {}?)": "{} (혹시 {}?)",
    # what to do next
    "add --ray": "--ray를 추가",
    "add --ray, and name a folder by --output": "--ray를 추가하고 --output으로 폴더를 지정",
    "name another output": "다른 출력 위치를 지정",
    "name another output, or replace it with --force": "다른 출력 위치를 지정하거나 --force로 바꿈",
    "name a folder that is not there yet": "아직 없는 폴더를 지정",
    "name another folder, or remove this one": "다른 폴더를 지정하거나 이 폴더를 삭제",
    "name a folder that every node has under this path": "모든 노드가 이 경로로 볼 수 있는 폴더를 지정",
    "name the model's folder": "모델의 폴더를 지정",
    "name its folder: {}": "그 폴더를 지정: {}",
    "name one of them": "그중 하나를 지정",
    "name one of them: {}": "그중 하나를 지정: {}",
    "name one of them; the last is {}": "그중 하나를 지정; 마지막 것은 {}",
    "make the folder first": "폴더를 먼저 만듦",
    "remove it": "삭제",
    "load it anew": "다시 읽음",
    "leave one of them out": "둘 중 하나를 뺌",
    "name a candidate": "후보를 지정",
    "make it again with octavo quantize": "octavo quantize로 다시 만듦",
    "make it again with --target {} (or --target any)": "--target {}(또는 --target any)로 다시 만듦",
    "take onnxruntime, or make the artifact by the method static, which both run": (
        "onnxruntime을 쓰거나, 둘 다 실행하는 static 방법으로 아티팩트를 만듦"
    ),
    "take the engine onnxruntime, which runs what Octavo writes by any method": (
        "모든 방법의 아티팩트를 실행하는 onnxruntime 엔진을 씀"
    ),
    "install a newer octavo": "새 버전의 octavo를 설치",
    "octavo.load runs texts of one length together": "octavo.load는 길이가 같은 문장끼리 실행함",
    "octavo inspect --verify tells whether a file was changed; or make it again here": (
        "octavo inspect --verify로 파일이 바뀌었는지 확인하거나, 여기서 다시 만듦"
    ),
    "octavo inspect --verify, or compare it with its checkpoint": (
        "octavo inspect --verify를 실행하거나 체크포인트와 비교"
    ),
    "octavo inspect without --graph": "--graph 없이 octavo inspect",
    "octavo quantize makes an artifact of it": "octavo quantize로 아티팩트를 만듦",
    "octavo quantize writes one of a checkpoint": "octavo quantize가 체크포인트로 만듦",
    "octavo quantize {} makes one": "octavo quantize {}(으)로 만듦",
    "octavo compare ... --report FILE.json writes one": "octavo compare ... --report FILE.json으로 만듦",
    "octavo search writes one": "octavo search가 만듦",
    "octavo quantize --calibrate FILE keeps some, or give ranges=": (
        "octavo quantize --calibrate FILE로 만들면 범위가 남음, 또는 ranges=를 지정"
    ),
    "octavo.qat.convert gives the float model back": "octavo.qat.convert로 float 모델을 되돌림",
    "pip install peft, which merges it here; or {}": "pip install peft로 여기서 합치거나, {}",
    "merge it where it was trained: model = AutoModelFor...from_pretrained(BASE); "
    "PeftModel.from_pretrained(model, THIS).merge_and_unload().save_pretrained(MERGED); then give MERGED": (
        "학습한 곳에서 합친 뒤 MERGED를 지정: model = "
        "AutoModelFor...from_pretrained(BASE); "
        "PeftModel.from_pretrained(model, "
        "THIS).merge_and_unload().save_pretrained(MERGED)"
    ),
    "merge it into its model first": "먼저 모델에 합침",
    "merge the adapter into its model first": "먼저 어댑터를 모델에 합침",
    "name it with --task": "--task로 지정",
    "give the task that it was trained for": "학습한 태스크를 지정",
    "give the folder that save_pretrained wrote": "save_pretrained가 쓴 폴더를 지정",
    "give the checkpoint that it was made from": "원본 체크포인트를 지정",
    "give the Hugging Face checkpoint that it was exported from": "내보내기 전의 Hugging Face 체크포인트를 지정",
    "give the float checkpoint": "float 체크포인트를 지정",
    "give the float checkpoint that it was made of": "원본 float 체크포인트를 지정",
    "give the float checkpoint that was quantized": "양자화하기 전의 float 체크포인트를 지정",
    "give the fine-tuned checkpoint: Octavo never makes up a head": (
        "파인튜닝된 체크포인트를 지정: Octavo는 헤드를 지어내지 않음"
    ),
    "give the config that belongs to these weights": "이 가중치에 맞는 설정을 지정",
    "give the tokenizer that it was trained with": "학습에 쓴 토크나이저를 지정",
    "give the tokenizer that the model was trained with": "모델의 학습에 쓴 토크나이저를 지정",
    "give a checkpoint without them": "그런 설정이 없는 체크포인트를 지정",
    "give a checkpoint that is all of this class; or leave them out, if that changes no answer: "
    "--ignore-weights '{}' (or a pattern such as 'crf.*', once for each)": (
        "이 클래스에 모두 맞는 체크포인트를 지정하거나, 답이 달라지지 않는다면 뺌: "
        "--ignore-weights '{}' (또는 'crf.*' 같은 패턴, 각각 한 번씩)"
    ),
    "quantize it as {} (or without a task), or give a checkpoint that was trained for {}": (
        "{}(으)로(또는 태스크 없이) 양자화하거나, {}용으로 학습한 체크포인트를 지정"
    ),
    "load it as {} (or without a task), or quantize a checkpoint that was trained for {}": (
        "{}(으)로(또는 태스크 없이) 열거나, {}용으로 학습한 체크포인트를 양자화"
    ),
    "pip install 'octavo[convert]' (on Linux install the CPU build of torch first: see the README)": (
        "pip install 'octavo[convert]' (리눅스에서는 torch의 CPU 빌드를 먼저 설치: README 참고)"
    ),
    "take a checkpoint of another architecture": "다른 구조의 체크포인트를 씀",
    "take a version of transformers whose class reads it, or a checkpoint that was trained without it": (
        "이 설정을 읽는 버전의 transformers나, 이 설정 없이 학습한 체크포인트를 씀"
    ),
    "save the model again with a newer sentence-transformers": "더 새로운 sentence-transformers로 모델을 다시 저장",
    "save it again with torch.save": "torch.save로 다시 저장",
    "fetch them again": "다시 내려받음",
    "export the checkpoint again": "체크포인트를 다시 내보냄",
    "export the checkpoint with this recipe": "이 레시피로 체크포인트를 내보냄",
    "put the file itself there": "링크 대신 파일 자체를 둠",
    "name a tokenizer.json with --target-tokenizer": "--target-tokenizer로 tokenizer.json을 지정",
    "name a folder that has one with --tokenizer": "--tokenizer로 토크나이저가 있는 폴더를 지정",
    "give a folder with tokenizer.json by --tokenizer": "--tokenizer로 tokenizer.json이 있는 폴더를 지정",
    "check do_lower_case and strip_accents in tokenizer_config.json": (
        "tokenizer_config.json의 do_lower_case와 strip_accents를 확인"
    ),
    "name the outputs in id order with --labels": "--labels로 출력의 이름을 아이디 순서로 지정",
    "give the names in id order, such as --labels entailment,contradiction,neutral": (
        "이름을 아이디 순서로 지정, 예: --labels entailment,contradiction,neutral"
    ),
    "give the model's labels in id order, by the names of the file, with --labels": (
        "--labels로 모델의 라벨을 파일의 이름으로, 아이디 순서로 지정"
    ),
    "give the model's tags in id order, by the names of the file, with --labels": (
        "--labels로 모델의 태그를 파일의 이름으로, 아이디 순서로 지정"
    ),
    "take data of the model's {} classes: the file has {}": "모델의 클래스 {}개에 맞는 데이터를 씀: 파일에는 {}개",
    "if they are ids of the model's labels, say so with --labels (labels=): its names, in id order": (
        "모델 라벨의 아이디라면 --labels(labels=)로 이름을 아이디 순서로 지정"
    ),
    "name the columns, such as --columns {}=NAME": "열을 지정, 예: --columns {}=NAME",
    "name the columns, such as --columns text=document,label=label; {}": (
        "열을 지정, 예: --columns text=document,label=label; {}"
    ),
    "where the file has no header, give positions, such as --columns text=1,label=2": (
        "머리글이 없는 파일이면 위치로 지정, 예: --columns text=1,label=2"
    ),
    "allow more with OCTAVO_MAX_LINE=BYTES": "OCTAVO_MAX_LINE=바이트 수로 더 허용",
    'write a quote inside quotes as "", or save the file as .tsv, which has no quoting': (
        '따옴표 안의 따옴표는 ""로 쓰거나, 따옴표가 없는 .tsv로 저장'
    ),
    "write the file in UTF-8": "파일을 UTF-8로 저장",
    "write a word and its tag a line, with a tab between, and a blank line behind each sentence": (
        "한 줄에 단어와 태그를 탭으로 나누어 쓰고, 문장 뒤에 빈 줄을 둠"
    ),
    "write the candidates of each query into {}": "질의마다 후보를 {}에 적음",
    "add passages that are not": "관련 없는 지문을 추가",
    "an impossible question has no answers: []": "답할 수 없는 질문의 answers는 비어 있음: []",
    "a text itself is given with --text": "문장 자체는 --text로 줌",
    "name a file of examples: .tsv, .csv, .jsonl or .json": "데이터 파일을 지정: .tsv, .csv, .jsonl 또는 .json",
    "put the method into the recipe": "방법을 레시피에 적음",
    "--max-drop 1.0, or without labels --min-agreement 99%": "--max-drop 1.0, 라벨이 없으면 --min-agreement 99%",
    "{}% or {}": "{}% 또는 {}",
    "hf auth login, where it is not your name that is wrong": "이름이 맞다면 hf auth login",
    "quantize the float model again with op_types_to_quantize=['MatMul', 'Gather'], or one that was made by "
    "octavo quantize --method float --opset 22, which has no Attention": (
        "op_types_to_quantize=['MatMul', 'Gather']로 float 모델을 다시 "
        "양자화하거나, Attention이 없는 octavo quantize --method float "
        "--opset 22의 모델을 양자화"
    ),
    "leave the device out: int8 runs on this CPU, in torch (--format torch) or, faster, as ONNX": (
        "장치 지정을 뺌: int8은 이 CPU에서 torch(--format torch)나 더 빠른 ONNX로 실행됨"
    ),
    "--format torch, or a checkpoint": "--format torch, 또는 체크포인트",
    "put modules.json and the folders that it names beside both": "modules.json과 거기 적힌 폴더를 양쪽에 둠",
    "make the artifact from the same checkpoint and --labels": "같은 체크포인트와 --labels로 아티팩트를 만듦",
    "compare it with models of its own tokenizer": "토크나이저가 같은 모델과 비교",
    "compare those with one tokenizer, and each of the others alone": "토크나이저가 같은 것끼리, 나머지는 따로 비교",
    "compare such models by their own score": "그런 모델은 각자의 점수로 비교",
    "quantize it with --method float": "--method float로 양자화",
    "quantize without the passes: --no-optimize": "그래프 변환 없이 양자화: --no-optimize",
    "make it compute all lengths alike in config.json{}, or lower model_max_length in tokenizer_config.json "
    "to where it does": (
        "config.json에서 모든 길이를 같게 계산하도록 하거나{}, "
        "tokenizer_config.json의 model_max_length를 그런 길이까지 낮춤"
    ),
    "call octavo.load in each process": "프로세스마다 octavo.load를 호출",
    "train it again for int8, or take static with --calibrate FILE": (
        "int8용으로 다시 학습하거나, static과 --calibrate FILE을 씀"
    ),
    "train the checkpoint for int8 with octavo.qat, or take static with --calibrate FILE": (
        "octavo.qat로 int8용으로 학습하거나, static과 --calibrate FILE을 씀"
    ),
    "give them to octavo.qat.prepare, or take the method static": "octavo.qat.prepare에 지정하거나, static 방법을 씀",
    "train it for the target any": "대상 CPU any로 학습",
    "take the method static with --calibrate FILE": "static 방법과 --calibrate FILE을 씀",
    "leave the examples out, or take dynamic, static or weight-only": (
        "데이터를 빼거나, dynamic, static, weight-only 중 하나를 씀"
    ),
    "leave the examples out, or take 4 bits": "데이터를 빼거나, 4비트를 씀",
    "leave the opset out": "opset을 지정하지 않음",
    "leave the examples out, or take the format onnx": "데이터를 빼거나, onnx 형식을 씀",
    "leave the examples out, and take weight-only or dynamic": "데이터를 빼고, weight-only나 dynamic을 씀",
    "give some 300 sentences of your own with --calibrate FILE": "--calibrate FILE로 자신의 문장 300개 정도를 줌",
    "give some 300 sentences of your own with --calibrate FILE, or take the method dynamic": (
        "--calibrate FILE로 자신의 문장 300개 정도를 주거나, dynamic 방법을 씀"
    ),
    "give some 300 examples, tokenized": "토큰화된 데이터 300개 정도를 줌",
    "give it where the Trainer is made: Trainer(..., callbacks=[...])": (
        "Trainer를 만들 때 줌: Trainer(..., callbacks=[...])"
    ),
    "leave batch_format as it is, or take pandas": "batch_format을 그대로 두거나 pandas를 씀",
    "give some thousand of yours": "자신의 문장 수천 개를 줌",
    "no --use-labels": "--use-labels를 뺌",
    "a larger --keep": "더 큰 --keep",
    "name other --layers": "다른 --layers를 지정",
    "give a lower --learning-rate": "더 작은 --learning-rate를 지정",
    "give a smaller --keep or --coverage, or leave the checkpoint as it is": (
        "더 작은 --keep이나 --coverage를 지정하거나, 체크포인트를 그대로 둠"
    ),
    "give the same to go on, name another output, or delete {} to begin anew": (
        "이어서 하려면 같은 설정을 주고, 아니면 다른 출력 위치를 지정하거나 {}을(를) 지우고 새로 시작"
    ),
    "wait for it, or name another": "끝날 때까지 기다리거나 다른 것을 지정",
    "wait for it, or name another output": "끝날 때까지 기다리거나 다른 출력 위치를 지정",
    "run it to its end without --pick": "--pick 없이 끝까지 실행",
    "name a file in a folder that is there": "있는 폴더 안의 파일을 지정",
    "name another study with --study, or remove this one": "--study로 다른 기록을 지정하거나 이것을 삭제",
    "the same command takes the study up": "같은 명령으로 이어서 실행",
    "give at least {} different examples; a few thousand decide more": (
        "서로 다른 데이터를 {}개 이상 줌; 수천 개면 더 잘 판정함"
    ),
    "where there are no labels: min_agreement, or min_cosine for embeddings": (
        "라벨이 없으면 min_agreement, 임베딩이면 min_cosine"
    ),
    "set OCTAVO_DEBUG=1 to see why": "OCTAVO_DEBUG=1로 원인을 확인",
    # warnings
    "{} of {} are left out: they have no label, or '-'": "{} 제외({}): 라벨이 없거나 '-'임",
    "{} examples are few to calibrate on: ranges may be too narrow for what comes; {} would do": (
        "캘리브레이션 데이터가 {}건으로 적어 범위가 좁을 수 있음; {}건이면 충분함"
    ),
    "{}: settings that Octavo does not have: {}": "{}: Octavo에 없는 설정: {}",
    "outputs that the task does not need are left out of the graph: {}": (
        "태스크에 필요 없는 출력을 그래프에서 뺌: {}"
    ),
    "{} of {} rows were calibrated on, so its figures may flatter it": (
        "데이터 {}건(전체 {}건)이 캘리브레이션에 쓰여 실제보다 좋게 나올 수 있음"
    ),
    "{} of the tokens are unknown to the tokenizer: is it this model's, and are the texts in its language "
    "and normalized as it expects (lower-casing with strip_accents takes Hangul apart)?": (
        "토큰의 {}가 UNK 토큰임: 이 모델의 토크나이저인지, 문장의 언어와 정규화가 맞는지 "
        "확인(strip_accents를 쓰는 소문자화는 한글을 자모로 나눔)"
    ),
    "{}: {} is read by the method qat, and not by {}": "{}: {}은(는) qat 방법이 읽으며 {}은(는) 읽지 않음",
    "{}: {} is of the weights before, and does not go with them: train for int8 again": (
        "{}: {}은(는) 이전 가중치의 것이라 옮기지 않음: int8용으로 다시 학습"
    ),
    "training brought nothing: held-out answers are no nearer than before; next: give more texts or --epochs": (
        "학습 효과가 없음: 따로 둔 문장의 답이 전보다 가까워지지 않음; 다음: 문장을 더 주거나 --epochs를 늘림"
    ),
    "{}: no licence is taken from it, its front matter is damaged: {}": (
        "{}: 머리 부분이 손상되어 라이선스를 가져오지 않음: {}"
    ),
    "texts of more than {} tokens are not compared with torch, and config.json has {}": (
        "{}토큰보다 긴 문장은 torch와 비교하지 않음; config.json에는 {}"
    ),
    "{} had the place of {} while that was replaced, and is no artifact; next: move it away": (
        "{}: {}을(를) 바꾸는 동안 그 자리에 있었고 아티팩트가 아님; 다음: 다른 곳으로 옮김"
    ),
    "config.json pads with the id {}, the tokenizer with {}; Octavo takes the first, as the model does": (
        "config.json의 패딩 아이디는 {}, 토크나이저는 {}; 모델과 같이 앞의 것을 씀"
    ),
    "{} does not read these settings of config.json: {}": "{}이(가) 읽지 않는 config.json의 설정: {}",
    "config.json names the class {}, which transformers does not have: its {} is taken, which fits the "
    "weights; see that it computes the same": (
        "config.json의 클래스 {}이(가) transformers에 없음: 가중치에 맞는 {}을(를) 씀; 같은 계산인지 확인"
    ),
    "{}, the classifier of SetFit, is a pickle and is not read: this model gives vectors only": (
        "{}: SetFit의 분류기는 피클이라 읽지 않음: 이 모델은 벡터만 냄"
    ),
    "made for {}; this CPU ({}) has less and will be slower": "{}용 아티팩트; 이 CPU({})는 명령어가 더 적어 느림",
    "made for {}, whose products saturate; this CPU ({}) could take finer weights": (
        "곱셈이 포화되는 {}용 아티팩트; 이 CPU({})에서는 더 정밀한 가중치를 쓸 수 있음"
    ),
    "made for {}, with 8-bit weights: on a CPU without VNNI its answers are wrong, and unlike Octavo no "
    "other program looks; next: take it to such CPUs only, or make one with --target any": (
        "{}용 8비트 가중치: VNNI가 없는 CPU에서는 답이 틀리며, 다른 프로그램은 이를 확인하지 "
        "않음; 다음: VNNI가 있는 CPU에서만 쓰거나 --target any로 만듦"
    ),
    "its 8-bit weights can saturate on this CPU, which has no VNNI: what it answers here is not what it "
    "answers elsewhere": (
        "VNNI가 없는 이 CPU에서는 8비트 가중치의 곱이 포화될 수 있음: 여기의 답은 다른 곳의 답과 다름"
    ),
    "{} of {} queries have no candidates in {} and are left out": "질의 {}건(전체 {}건)은 {}에 후보가 없어 제외",
    "tokenizer.json, which Octavo uses, has another {} than {}": (
        "Octavo가 쓰는 tokenizer.json의 {}이(가) {}와(과) 다름"
    ),
    "tokenizer.json was not held against {}, for which sentencepiece is needed: {}": (
        "sentencepiece가 없어 tokenizer.json을 {}와(과) 대조하지 않음: {}"
    ),
    "the labels look permuted: accuracy is {} as given and {} if the model's labels were {}; next: give the "
    "right order with --labels {}": (
        "라벨의 순서가 바뀐 듯함: 정확도가 지금은 {}, 다음 순서이면 {}: {}; 다음: --labels {}로 순서를 지정"
    ),
    "torch:{} took {} times the time of float32 on an H100 (BERT-base, 32 x 128): its kernels are made for "
    "torch.compile. torch:bf16 was the fast one, or add compile: torch:{},compile": (
        "torch:{}은(는) H100에서 float32의 {}배 시간이 걸림(BERT-base, 32 x "
        "128): 커널이 torch.compile용임. torch:bf16이 빨랐고, 또는 compile을 "
        "추가: torch:{},compile"
    ),
    "this build of torch has no int8 kernels for this CPU ({}), so products go through float64: the same "
    "answers, slowly; the format onnx is the fast one here (octavo quantize --format onnx)": (
        "이 torch 빌드에는 이 CPU용 int8 커널이 없어({}) float64로 곱함: 답은 같고 "
        "느림; 여기서는 onnx 형식이 빠름(octavo quantize --format onnx)"
    ),
    "{}: {}, which Octavo uses, splits {} otherwise than AutoTokenizer does{}; {}, else check do_lower_case "
    "and strip_accents in tokenizer_config.json": (
        "{}: Octavo가 쓰는 {}은(는) {}을(를) AutoTokenizer와 다르게 나눔{}; "
        "{}, 또는 tokenizer_config.json의 do_lower_case와 "
        "strip_accents를 확인"
    ),
    "{}: added tokens are not found in texts: {}{}": "{}: 추가된 토큰을 문장에서 찾지 못함: {}{}",
    "{}: {}, which Octavo uses, splits {} otherwise than {} does{}; {}": (
        "{}: Octavo가 쓰는 {}은(는) {}을(를) {}와(과) 다르게 나눔{}; {}"
    ),
    "{}: transformers splits {} otherwise than {} does{}; Octavo takes the way of {}; {}": (
        "{}: transformers는 {}을(를) {}와(과) 다르게 나눔{}; Octavo는 {}을(를) 따름; {}"
    ),
    "{}: tokenizer.json, which Octavo uses, has other ids than {} for {}; for the ids of {} give a folder "
    "without tokenizer.json": (
        "{}: Octavo가 쓰는 tokenizer.json의 아이디가 {}와(과) 다름({}); {}의 "
        "아이디를 쓰려면 tokenizer.json이 없는 폴더를 지정"
    ),
    "for AutoTokenizer's way save it to a folder by save_pretrained, and name that with --tokenizer": (
        "AutoTokenizer를 따르려면 save_pretrained로 저장한 폴더를 --tokenizer로 지정"
    ),
}
