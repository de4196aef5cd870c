"""The Korean of errors about checkpoints, artifacts, recipes and engines; `{}` stands for what varies."""

MODELS = {
    # checkpoints
    "no config.json": "config.json이 없음",
    "config.json is not JSON": "config.json이 JSON이 아님",
    "config.json is not a table": "config.json이 객체가 아님",
    "config.json does not tell the task": "config.json에서 태스크를 알 수 없음",
    "transformers cannot read config.json": "transformers가 config.json을 읽지 못함",
    "{} is not JSON": "{}: JSON이 아님",
    "{} is not a table": "{}: 객체가 아님",
    "{} is not a table of settings": "{}: 설정의 객체가 아님",
    "{} is not valid": "{}: 올바르지 않음",
    "{} is not readable": "{}: 읽을 수 없음",
    "not a table of settings": "설정의 객체가 아님",
    "a setting is NaN or infinite": "설정값이 NaN 또는 무한대임",
    "a setting is out of its range": "설정값이 범위를 벗어남",
    "id2label is not a table of ids and names": "id2label이 아이디와 이름의 객체가 아님",
    "id2label has to name each output, and no two alike": "id2label은 출력마다 서로 다른 이름이 있어야 함",
    "--labels has an empty name": "--labels에 빈 이름이 있음",
    "--labels does not fit the model": "--labels가 모델과 맞지 않음",
    "--labels has a name twice": "--labels에 같은 이름이 두 번 있음",
    "--labels is for classifiers": "--labels는 분류 모델에만 씀",
    "the padding token has no vector": "패딩 토큰의 임베딩이 없음",
    "neither tokenizer nor model tells how long an input may be": "토크나이저에도 모델에도 최대 길이가 없음",
    "no input is as short as this limit": "최대 길이가 너무 짧아 들어갈 입력이 없음",
    "the tokenizer has no mask token, which fill-mask needs": "fill-mask에 필요한 마스크 토큰이 토크나이저에 없음",
    "this CrossEncoder is not carried over": "이 CrossEncoder는 옮길 수 없음",
    "this SparseEncoder is not carried over": "이 SparseEncoder는 옮길 수 없음",
    "this ColBERT model is not carried over": "이 ColBERT 모델은 옮길 수 없음",
    "a Dense reads another width": "Dense가 받는 차원이 다름",
    "the encoder does not run alone": "인코더만 따로 실행되지 않음",
    "models that keep nothing of the text before are not made": "앞 텍스트의 캐시를 남기지 않는 모델은 만들지 않음",
    "the projection has another size": "투영(projection)의 크기가 다름",
    "a checkpoint of {} has no {}": "{} 체크포인트에 {} 없음",
    "the tokenizer has no token for {}": "토크나이저에 {} 토큰이 없음",
    "queries are filled up with a token that ends every text": "질의를 채우는 토큰이 모든 텍스트의 끝 토큰과 같음",
    "the tokenizer has no token to fill a query up with": "질의를 채울 토큰이 토크나이저에 없음",
    "the limit leaves no room for text": "최대 길이가 너무 짧아 텍스트가 들어갈 자리가 없음",
    "the float graphs were exported for another task": "float 그래프가 다른 태스크용으로 내보내졌음",
    "token_embeddings=True is the task late-interaction": "token_embeddings=True는 late-interaction 태스크임",
    "vectors of tokens are given whole, in float32": "토큰 벡터는 전체를 float32로만 줌",
    "without dimensions, precision and ranges": "dimensions, precision, ranges 없이",
    "this sentence-transformers model is not carried over": "이 sentence-transformers 모델은 옮길 수 없음",
    "a {} has no model.safetensors": "{}에 model.safetensors가 없음",
    "not as sentence-transformers writes it": "sentence-transformers가 쓰는 형식이 아님",
    "cannot be read": "읽을 수 없음",
    "this is an ONNX file": "ONNX 파일임",
    "this is an artifact that Octavo wrote": "Octavo가 쓴 아티팩트임",
    "checkpoints are read by torch and transformers, which are not installed": (
        "체크포인트를 읽는 torch와 transformers가 설치되지 않음"
    ),
    "{} weights of {} are missing from the checkpoint": "체크포인트에 없는 가중치 {}개({})",
    "weights do not fit the config": "가중치가 설정과 맞지 않음",
    "transformers cannot load this checkpoint": "transformers가 이 체크포인트를 읽지 못함",
    "a model is a folder": "모델은 폴더임",
    "a Trainer's folder of checkpoints, and none itself": (
        "Trainer의 체크포인트들이 든 폴더이며 체크포인트 자체가 아님"
    ),
    "a folder of artifacts, and none itself": "아티팩트들이 든 폴더이며 아티팩트 자체가 아님",
    "no ONNX file": "ONNX 파일이 없음",
    "several ONNX files and no way to choose": "ONNX 파일이 여러 개라 고를 수 없음",
    "a pipe or a device, and no file": "파일이 아니라 파이프나 장치임",
    "a link that leads nowhere": "가리키는 곳이 없는 링크",
    "this folder has an adapter, which changes its model": "모델을 바꾸는 어댑터가 폴더에 있음",
    "this is an adapter without its base model": "기반 모델이 없는 어댑터",
    "the adapter does not fit {}: {} weights are left over or missing": (
        "어댑터가 {}와(과) 맞지 않음: 남거나 없는 가중치 {}개"
    ),
    "peft cannot merge the adapter": "peft가 어댑터를 합치지 못함",
    "{} was learnt with other weights": "{}: 다른 가중치로 학습한 범위",
    "{} was learnt with another tokenizer": "{}: 다른 토크나이저로 학습한 범위",
    "a file of the checkpoint has an unexpected value": "체크포인트의 파일에 예상하지 못한 값이 있음",
    "settings of config.json that {} does not read, and that change what a model computes": (
        "모델의 계산을 바꾸는데 {}이(가) 읽지 않는 config.json의 설정"
    ),
    # tokenizers
    "the id of an added token is no number": "추가된 토큰의 아이디가 수가 아님",
    "the token {} has several ids": "토큰 {}의 아이디가 여러 개임",
    "an added token cannot have its id": "추가된 토큰에 그 아이디를 줄 수 없음",
    "{}, and transformers is not installed": "{}, 그런데 transformers가 설치되지 않음",
    "{} is read by sentencepiece, which is not installed": "{}을(를) 읽는 sentencepiece가 설치되지 않음",
    "the sentencepiece model cannot be read": "sentencepiece 모델을 읽을 수 없음",
    "no such tokenizer": "그런 토크나이저가 없음",
    "no tokenizer": "토크나이저가 없음",
    "tokens have other ids than in {}": "토큰의 아이디가 {}와(과) 다름",
    "the tokenizer has no fast form": "토크나이저에 빠른 형식(tokenizer.json)이 없음",
    "the vocabulary was not taken over: its own words become unknown": (
        "어휘가 옮겨지지 않음: 어휘의 단어가 UNK 토큰이 됨"
    ),
    "the tokenizer cannot split a text": "토크나이저가 문장을 나누지 못함",
    "tokenizer.json cannot be read": "tokenizer.json을 읽을 수 없음",
    "a checkpoint's tokenizer is read by transformers, which is not installed": (
        "체크포인트의 토크나이저를 읽는 transformers가 설치되지 않음"
    ),
    "transformers cannot load the tokenizer": "transformers가 토크나이저를 읽지 못함",
    "the tokenizer has tokens that the model has no vectors for": "모델에 임베딩이 없는 토큰이 토크나이저에 있음",
    # weights
    "no weights": "가중치가 없음",
    "a part of the weights is missing": "가중치의 일부 파일이 없음",
    "the index of the weights is damaged": "가중치의 색인 파일이 손상됨",
    "the weight files are empty": "가중치 파일이 비어 있음",
    "the weights are not a table of tensors": "가중치 파일이 텐서의 표가 아님",
    "the weights are a compressed zip, which torch does not write": "가중치가 torch가 쓰지 않는 압축된 zip임",
    "the weights cannot be read safely": "가중치를 안전하게 읽을 수 없음",
    "the weights were changed after they were read": "읽은 뒤에 가중치가 바뀜",
    "a tensor is larger than the file that it is in": "텐서가 자신이 든 파일보다 큼",
    "pytorch_model.bin is read by torch, which is not installed": "pytorch_model.bin을 읽는 torch가 설치되지 않음",
    "these are the weights of a model that PyTorch's quantize_dynamic made: a quantized Linear saves packed "
    "parameters and no `weight`, so from_pretrained would build the float model and leave every Linear random": (
        "PyTorch의 quantize_dynamic으로 만든 모델의 가중치임: 양자화된 Linear는 "
        "`weight` 없이 묶인 값만 저장하므로, from_pretrained로 읽으면 모든 "
        "Linear가 임의의 값이 됨"
    ),
    "{} weights of the checkpoint have no place in {}": "쓰이지 않는 가중치 {}개(모델 클래스 {})",
    "--ignore-weights names weights that {} takes": "--ignore-weights가 {}이(가) 쓰는 가중치를 가리킴",
    "--ignore-weights matches no weight of the checkpoint": "--ignore-weights에 맞는 가중치가 체크포인트에 없음",
    "weights that nothing reads": "아무것도 읽지 않는 가중치",
    "the weights of a Dense have another size": "Dense 가중치의 크기가 다름",
    "the weights of a {} cannot be read": "{}의 가중치를 읽을 수 없음",
    "packed parameters that are not int8": "묶인 값이 int8이 아님",
    "a weight with a zero point": "영점이 있는 가중치",
    "not all weights of the quantized model are there": "양자화된 모델의 가중치가 모두 있지 않음",
    "these are not weights that Octavo wrote": "Octavo가 쓴 가중치가 아님",
    "the weights do not belong to the config": "가중치가 설정의 모델과 다름",
    "the weights are int8": "가중치가 int8임",
    # recipes and methods
    "the artifact is of the format {}": "{} 형식의 아티팩트임",
    "no layer would be quantized": "양자화될 레이어가 하나도 없음",
    "{} of {} inputs left the ranges that static int8 learnt from its examples, "
    "by up to {} times their width: answers to such texts may be wrong": (
        "모델 입력 {}건(전체 {}건)이 정적 int8이 배운 범위를 벗어남(범위 폭의 최대 {}배): 이런 글의 답은 틀릴 수 있음"
    ),
    "none of its layers has a learnt range to watch": "배운 범위가 있는 레이어가 없어 지켜볼 것이 없음",
    "ranges of this architecture are not watched: it computes in other shapes than [batch, length]": (
        "이 아키텍처의 범위는 지켜보지 않음: [배치, 길이]와 다른 모양으로 계산함"
    ),
    "mixed knows no Linear of this model by its name (its last one: {}): all ranges are learnt; "
    'take --method static, which OpenVINO runs too, or rules with keep = "per-token"': (
        "mixed가 이름을 아는 Linear가 이 모델에 없음(마지막 Linear: {}): 모든 레이어의 범위를 배움. "
        'OpenVINO도 실행하는 --method static을 쓰거나, 규칙으로 지정(keep = "per-token")'
    ),
    "OpenVINO does not run layers that are rounded per token": "OpenVINO는 토큰별 스케일의 레이어를 실행하지 못함",
    "rows of a table are looked up, not rounded per token": "테이블의 행은 조회만 하므로 토큰별 스케일이 없음",
    "products of the method {} have 8 bits": "{} 방법의 곱셈은 8비트임",
    "the method qat takes ranges from {} beside the weights, and there is none": (
        "qat 방법에 필요한 {}이(가) 가중치 옆에 없음"
    ),
    "layers and smoothing were settled when the checkpoint was trained": "레이어와 스무딩은 학습할 때 이미 정해짐",
    "weights are trained for 8 or 4 bits": "가중치는 8비트나 4비트로 학습함",
    "weights of 4 bits need opset 21": "4비트 가중치에는 opset 21 이상이 필요함",
    "the checkpoint was trained for CPUs whose products do not saturate, and on this target they do": (
        "곱셈이 포화되지 않는 CPU용으로 학습한 체크포인트인데, 이 대상 CPU에서는 포화됨"
    ),
    "layers that read the same values have several ranges": "같은 값을 읽는 레이어들의 범위가 서로 다름",
    "the method float keeps every layer float": "float 방법은 모든 레이어를 float로 둠",
    "layers of several components are not measured": "여러 부분으로 된 모델의 레이어는 측정하지 않음",
    "the artifact was made from a checkpoint with other layers": "레이어가 다른 체크포인트로 만든 아티팩트",
    "an encoder with a decoder is not calibrated": "인코더-디코더 모델은 캘리브레이션하지 않음",
    "this method does not calibrate": "이 방법은 캘리브레이션하지 않음",
    "{} exclude each other": "{}: 함께 쓸 수 없음",
    "own_sentences are Octavo's, and examples of yours were given": (
        "own_sentences는 Octavo의 문장을 쓰는데 데이터가 주어짐"
    ),
    "{} are learnt from examples, and none were given": "{}: 데이터에서 배우는데 데이터가 주어지지 않음",
    "weights of 8 bits are rounded without examples": "8비트 가중치는 데이터 없이 반올림함",
    "the format torch does not calibrate": "torch 형식은 캘리브레이션하지 않음",
    "models that write are made in the format onnx": "생성 모델은 onnx 형식으로 만듦",
    "a model that is quantized already keeps what it has": "이미 양자화된 모델은 있는 그대로 유지함",
    "the float graphs were exported with other settings": "다른 설정으로 내보낸 float 그래프",
    # exporting
    "this architecture cannot be exported": "내보낼 수 없는 구조의 모델",
    "{} cannot be exported: {}": "{}을(를) 내보낼 수 없음: {}",
    "it counts positions outside of torch, so that a graph is for one length": (
        "위치를 torch 밖에서 세므로 그래프가 한 가지 길이에만 맞음"
    ),
    "which tokens see everything is looked up in the text, and its windows are cut by that": (
        "전역 어텐션 토큰을 텍스트에서 찾고 그에 따라 창을 자름"
    ),
    "its decoder's first token is looked up in the text, and that of one row otherwise": (
        "디코더의 첫 토큰을 텍스트에서 찾으며, 한 행일 때는 다른 방법으로 찾음"
    ),
    # recipes that are no whole
    "{} is a setting of the method {}, and this is {}": "{}은(는) 방법 {}의 설정인데 여기는 {}",
    "the format {} has the methods {}, and this is {}": "형식 {}의 방법은 {}인데 여기는 {}",
    "{} is a setting of the format onnx, and this is {}": "{}은(는) onnx 형식의 설정인데 여기는 {}",
    "layers are stored in 16 bits in the format onnx, and this is {}": "16비트 레이어는 onnx 형식에만 있는데 여기는 {}",
    "int4 layers are made by dynamic, static and weight-only, format onnx; this is {}": (
        "int4 레이어는 onnx 형식의 dynamic, static, weight-only로 만드는데 여기는 {}"
    ),
    "ONNX Runtime alone runs layers that are rounded per token": "토큰별 스케일의 레이어는 ONNX Runtime만 실행함",
    "layers are rounded per token by dynamic and static, format onnx; this is {}": (
        "토큰별 스케일은 onnx 형식의 dynamic과 static에만 있는데 여기는 {}"
    ),
    "products in float are of weights of 8 bits with one scale per output channel": (
        "float 곱은 출력 채널마다 스케일이 하나인 8비트 가중치에만 씀"
    ),
    "the exported graph has other outputs": "내보낸 그래프의 출력이 다름",
    "the exported graph has no cache": "내보낸 그래프에 캐시가 없음",
    "an encoder and its decoder cannot be told apart": "인코더와 디코더를 구별할 수 없음",
    "a run at {} failed": "{} 크기의 입력에서 실행 실패",
    "an activation function that the model in numpy does not have": "numpy 모델에 없는 활성화 함수",
    "padding changes the model's answers": "패딩이 모델의 답을 바꿈",
    "padding changes what {} answer, in {} too, so that a text has no one answer": (
        "패딩이 {} 모델의 답을 바꿈({}에서도): 한 문장의 답이 하나로 정해지지 않음"
    ),
    "ONNX Runtime cannot load the exported graph": "ONNX Runtime이 내보낸 그래프를 열지 못함",
    "the pass {} changes what the model answers": "그래프 변환 {}이(가) 모델의 답을 바꿈",
    "{} answers with values that are not finite": "{}의 출력에 유한하지 않은 값이 있음",
    "{} answers a text otherwise after shorter ones, which a graph cannot express": (
        "{}은(는) 더 짧은 문장 뒤에 같은 문장의 답이 달라져 그래프로 나타낼 수 없음"
    ),
    "the exported graph differs from {} at {}": "내보낸 그래프의 답이 {}와(과) 다름, 입력 크기 {}",
    # artifacts
    "an artifact is a folder, and this is a file": "아티팩트는 폴더인데 파일임",
    "the artifact is not complete": "아티팩트가 온전하지 않음",
    "a file of the artifact was changed": "아티팩트의 파일이 바뀜",
    "a file of the artifact leads out of it": "아티팩트의 파일이 폴더 밖을 가리킴",
    "a file that {} does not list is to be opened": "{}에 없는 파일을 열려고 함",
    "unknown schema version": "알 수 없는 스키마 버전",
    "the model has another number of outputs than labels": "모델의 출력 수와 라벨 수가 다름",
    "the quantized model answers with values that are not finite": "양자화된 모델의 출력에 유한하지 않은 값이 있음",
    "made for {}: its products of 8-bit weights saturate on this CPU, which has no VNNI, and answers would "
    "be wrong without any error": (
        "{}용 아티팩트: VNNI가 없는 이 CPU에서는 8비트 가중치의 곱이 포화되어 오류 없이 틀린 답이 나옴"
    ),
    "the artifact does not answer here as it did where it was made: a file was changed, or this CPU or "
    "engine ({}) computes its int8 wrongly": (
        "아티팩트의 답이 만든 곳에서와 다름: 파일이 바뀌었거나, 이 CPU나 엔진({})이 int8을 잘못 계산함"
    ),
    "an artifact cannot be written there": "그 위치에는 아티팩트를 쓸 수 없음",
    "the output holds files that are not the artifact's": "출력 폴더에 아티팩트의 것이 아닌 파일이 있음",
    "the Hub does not take it": "허브가 받지 않음",
    "unknown program": "알 수 없는 프로그램",
    "{} runs ONNX models": "{}은(는) ONNX 모델을 실행함",
    "{} has no such task": "{}에 없는 태스크",
    "{} may not read that opset": "{}이(가) 읽지 못할 수 있는 opset",
    "{} does not pool so": "{}에 없는 풀링 방식",
    "{} runs nothing but Normalize behind the pooling": "{}은(는) 풀링 뒤에 Normalize만 실행함",
    "{} pads texts to one length, which changes this model's answers": (
        "{}은(는) 문장을 같은 길이로 채우는데, 이 모델은 그러면 답이 달라짐"
    ),
    "transformers.js reads no weights beside a renamed model": (
        "transformers.js는 이름이 바뀐 모델 옆의 가중치를 읽지 않음"
    ),
    "Triton names a model by its folder": "Triton에서는 폴더 이름이 모델 이름임",
    "neither a checkpoint, nor an artifact, nor an ONNX model": "체크포인트도 아티팩트도 ONNX 모델도 아님",
    "a torch model has no graph": "torch 모델에는 그래프가 없음",
    "this ONNX model is not used as its operators are meant": "연산자의 규격에 맞지 않는 ONNX 모델",
    # ONNX files
    "this is a folder, a pipe or a device, and no ONNX file": "ONNX 파일이 아니라 폴더, 파이프 또는 장치임",
    "this is not an ONNX model": "ONNX 모델이 아님",
    "this is not a readable ONNX model": "읽을 수 없는 ONNX 모델",
    "this ONNX model is not valid": "올바르지 않은 ONNX 모델",
    "a tensor of the model is not valid": "모델의 텐서가 올바르지 않음",
    "the model is damaged: a tensor has not the bytes that it declares": "모델이 손상됨: 텐서의 크기가 선언과 다름",
    "external data outside of the model's folder": "모델의 폴더 밖에 있는 외부 데이터",
    "the file of the external data is missing": "외부 데이터 파일이 없음",
    "the place of external data is no number": "외부 데이터의 위치가 수가 아님",
    "the model is larger than its file: {}": "모델이 파일보다 커짐: {}",
    "a function of the model calls itself": "모델의 함수가 자신을 호출함",
    # engines
    "{} is not installed": "{}: 설치되지 않음",
    "{} runs on CPUs here": "{}: 여기서는 CPU에서만 실행됨",
    "unknown mode of {}": "{}의 알 수 없는 모드",
    "OpenVINO does not run dynamic int8": "OpenVINO는 동적 int8을 실행하지 못함",
    "onnxruntime.quantization made a QAttention of an Attention that is not its own, and no runtime loads that": (
        "onnxruntime.quantization이 자기 것이 아닌 Attention을 QAttention으로 바꾸어 어떤 런타임도 열지 못함"
    ),
    "ONNX Runtime cannot load the model": "ONNX Runtime이 모델을 열지 못함",
    "ONNX Runtime could not run the model": "ONNX Runtime이 모델을 실행하지 못함",
    "OpenVINO cannot load the model": "OpenVINO가 모델을 열지 못함",
    "OpenVINO could not run the model": "OpenVINO가 모델을 실행하지 못함",
    "torch could not run the model": "torch가 모델을 실행하지 못함",
    "there is no CUDA device here": "이 시스템에 CUDA 장치가 없음",
    "fp8 is not available here": "이 시스템에서는 fp8을 쓸 수 없음",
    "torchao makes fp8, and is not installed": "fp8에 필요한 torchao가 설치되지 않음",
    "on a GPU torchao runs int8, which is not installed": "GPU에서 int8을 실행하는 torchao가 설치되지 않음",
    "torchao multiplies the int8 weights of an artifact of the format torch": (
        "torchao는 torch 형식 아티팩트의 int8 가중치를 곱함"
    ),
    "int8 layers compute in float32 on a CPU": "CPU에서 int8 레이어는 float32로 계산함",
    "torchao's products of these weights give float32": "이 가중치의 torchao 곱셈은 float32를 냄",
    "an int8 model is saved as it was loaded": "int8 모델은 읽은 그대로 저장함",
}
