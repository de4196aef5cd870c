"""A few sentences, Korean and English, to run a model on where the user gave none: everyday ones, short and long."""

SENTENCES = (
    "오늘은 아침부터 비가 많이 내려서 길이 막혔다.",
    "배송이 하루 늦었지만 상담원이 친절하게 안내해 주셔서 만족합니다.",
    "이 영화는 배우들의 연기는 좋았으나 이야기가 지루해서 끝까지 보기 힘들었다.",
    "서울시는 내년 3월부터 시내버스 요금을 1,200원에서 1,500원으로 올리기로 했다.",
    "아니요.",
    "한 여자가 공원 벤치에 앉아 책을 읽고 있고, 그 옆에서 아이 둘이 공을 차며 놀고 있다.",
    "환불은 어디에서 신청하나요?",
    "연구진은 새로 개발한 소재가 기존 배터리보다 충전 속도가 두 배 빠르고 수명도 길다고 밝혔다.",
    "The train to the airport leaves every twenty minutes from platform four.",
    "I waited two weeks for the package, and when it finally arrived the box was empty.",
    "Great value, would buy again!",
    "Researchers at the university found that people who walk for half an hour a day sleep better at night.",
    "How do I reset my password?",
    "A man in a blue shirt is repairing a bicycle in front of a shop while two children watch him.",
    "No one was hurt.",
    "The committee postponed its decision until June because several members had not read the report.",
)
