"""Demo conversations: an ordinary day of an app in Chinese and English, with a spam wave.

The content is the same every time; its times lie within the 20 hours before it is generated.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from moderation.goeasy.client import Group, Private

SPAM_SENDER = "promo-7731"
TOWN_SQUARE = "g-town-square"
DAY_LENGTH = 20 * 3600 * 1000
MINUTE = 60 * 1000

PEOPLE = {
    "u-1001": "小林",
    "u-1002": "Alice Zhang",
    "u-1003": "老王",
    "u-1004": "Mei",
    "u-1005": "阿杰",
    "u-1006": "Daniel",
    "u-1007": "晓雯",
    "u-1008": "Ravi",
    "u-1009": "李老师",
    "u-1010": "豆豆妈妈",
    "u-1011": "Tom H.",
    "u-1012": "橙子汽水",
    "shop:客服/01": "小店客服",
    "🐼panda": "熊猫",
    "user 42": "Forty-Two",
    SPAM_SENDER: "稳赚小助手",
}

TALK = {
    "town": [
        "早上好 ☀️",
        "今天地铁好挤",
        "Morning everyone!",
        "有人知道东门那家面馆几点开吗？",
        "I think it opens at ten.",
        "昨晚的雨真大，楼下都积水了",
        "周末市集还办吗？",
        "Yes — Saturday, 9 to 5, by the river.",
        "太好了，我带孩子去",
        "Does anybody have a spare bike pump?",
        "我有，晚上七点后来拿",
        "谢谢！🙏",
        "猫走丢了，橘色的，戴蓝色项圈，看到请联系我",
        "Oh no. I'll keep an eye out near the park.",
        "刚才好像在三号楼旁边看到一只",
        "找到了！！谢谢大家 😭",
        "❤️❤️❤️",
        "停水通知看到了吗？明天上午九点到十二点",
        "Thanks for the reminder.",
        "哈哈哈哈哈",
        "图书馆新到了一批绘本",
        "Anyone up for badminton tonight?",
        "算我一个，八点行吗",
        "我也去，缺一个拍子",
        "I have two, no problem.",
        "晚饭吃什么是每天最难的问题",
        "Same here 😂",
        "推荐一下附近的牙医",
        "南街那家不错，就是要预约",
        "快递柜又满了……",
    ],
    "game": [
        "今晚八点开团，坦克还缺一个",
        "I can tank if someone heals.",
        "奶妈在此",
        "新版本改了技能树，先别加点",
        "gg",
        "这把稳了",
        "lag again… 300 ms",
        "换个服务器试试",
        "昨天那个翻盘太精彩了",
        "Who has the recording?",
        "我录了，晚点传",
        "副本第三关到底怎么过",
        "Pull the boss to the left pillar and wait for the second shout.",
        "学到了",
        "周五公会战，别忘了报名",
        "在",
        "+1",
        "装备分我一件紫的就行",
        "nice shot!",
        "再来一局就睡",
    ],
    "study": [
        "第三章的习题有人做完了吗？",
        "I'm stuck on 3.7, the induction step.",
        "先假设对 k 成立，再看 k+1，注意奇偶",
        "懂了，谢谢",
        "明天小组讨论改到下午三点",
        "Room 204 or online?",
        "线上，链接晚上发",
        "老师说期中只考前五章",
        "Really? The syllabus says six.",
        "我再确认一下",
        "笔记整理好了，发群文件",
        "You're a lifesaver.",
        "有没有人一起背单词打卡",
        "Day 12 ✅",
        "打卡",
    ],
    "parents": [
        "各位家长，明天春游请穿校服，带水壶和帽子",
        "收到",
        "收到，谢谢老师",
        "Received, thank you.",
        "请问几点到校？",
        "七点四十，校门口集合",
        "孩子有点咳嗽，可以请假吗？",
        "可以的，注意休息，把假条发给我就好",
        "作业是第 24 页第 1 到 5 题",
        "Is lunch provided tomorrow?",
        "学校准备三明治，有过敏的请私聊我",
        "老师辛苦了 🌷",
    ],
    "trade": [
        "出一台九成新显示器，27 寸，600 自提",
        "Is it still available?",
        "在的，周末可以看货",
        "能便宜点吗？",
        "550 最低了",
        "OK, I'll take it. Saturday morning?",
        "可以，十点东门见",
        "有发票吗",
        "有，保修还剩半年",
        "成交",
    ],
    "support": [
        "你好，我的订单显示已签收，但我没收到",
        "您好，请提供一下订单号，我帮您查",
        "A-20931",
        "已联系快递，放在了丰巢柜，取件码 7 位数，稍后短信发您",
        "好的谢谢",
        "不客气，祝您生活愉快 😊",
        "Hi, can I change the delivery address?",
        "Sure — it hasn't been shipped yet. What is the new address?",
        "12 Canal Street, 4B",
        "Done. You'll get an e-mail in a minute.",
        "Great, thanks!",
        "You're welcome!",
        "可以开发票吗？",
        "可以的，请填写抬头和税号",
        "退货运费谁出？",
        "质量问题由我们承担",
    ],
    "small": [
        "在吗",
        "在，怎么了",
        "晚上一起吃饭？",
        "行啊，几点",
        "七点，老地方",
        "Running 5 minutes late, sorry!",
        "没事，慢慢来",
        "到了吗",
        "到了，靠窗那桌",
        "今天聊得很开心",
        "Me too. Get home safe.",
        "晚安 🌙",
        "你看那个视频了吗",
        "太好笑了哈哈",
        "照片发我一下",
        "等下",
    ],
}

SPAM = [
    "【内部消息】稳赚不赔！加微信 win-7731，名额仅剩 {n} 个",
    "日入 {n}00 元不是梦，动动手指就能赚，点击 https://example.com/p/{n}",
    "Earn ${n}00 a day from home!!! Message me now 💰💰💰",
    "老师带单，昨天学员盈利 {n}%，今晚最后一场直播",
    "刷单返现，一单一结，{n} 元起，绝不套路",
    "FREE COINS 🎁 https://example.com/coins?ref=7731-{n}",
]

Message = dict[str, Any]
SeededConversation = tuple[dict[str, str], list[Message]]

GROUPS: list[tuple[str, str, int, list[str]]] = [
    (TOWN_SQUARE, "town", 1_240, ["u-1001", "u-1002", "u-1003", "u-1004", "u-1006", "u-1007", "u-1011", "user 42"]),
    ("g-guild-azure", "game", 320, ["u-1005", "u-1006", "u-1008", "u-1012", "🐼panda"]),
    ("study/calculus 2", "study", 180, ["u-1002", "u-1007", "u-1008", "u-1012"]),
    ("class:三年二班", "parents", 130, ["u-1009", "u-1010", "u-1003", "u-1004"]),
    ("g-second-hand", "trade", 120, ["u-1001", "u-1005", "u-1011", "user 42"]),
    ("🎮 night owls", "game", 90, ["u-1005", "u-1012", "🐼panda"]),
    ("g-book-club", "town", 80, ["u-1004", "u-1007", "u-1011"]),
]
PAIRS: list[tuple[str, str, str, int]] = [
    ("u-1001", "shop:客服/01", "support", 60),
    ("user 42", "shop:客服/01", "support", 50),
    ("u-1002", "u-1006", "small", 70),
    ("u-1004", "u-1007", "small", 60),
    ("🐼panda", "u-1005", "small", 40),
    ("u-1003", "u-1010", "small", 30),
    ("u-1008", "u-1012", "study", 30),
    (SPAM_SENDER, "u-1001", "small", 0),
]
# Number of spam messages by conversation.
WAVE = {TOWN_SQUARE: 46, "g-guild-azure": 6, "g-second-hand": 5, "g-book-club": 4, "study/calculus 2": 3, "u-1001": 4}

DEMO_CONVERSATIONS: list[Group | Private] = [
    *(Group(name) for name, *_ in GROUPS),
    *(Private(one, other) for one, other, *_ in PAIRS),
]


def demo(*, now_ms: int, media_base: str) -> Iterator[SeededConversation]:
    """Yield every conversation with its messages; `media_base` is the base URL of attachments."""
    rng = random.Random(7731)  # noqa: S311 - repeatable, not secret
    for name, topic, count, members in GROUPS:
        messages = talk(rng, topic, count, members, now_ms)
        messages += wave(rng, WAVE.get(name, 0), now_ms)
        if name == TOWN_SQUARE:
            messages += unusual_messages(now_ms)
        yield {"kind": "group", "group_id": name}, completed(rng, messages, media_base, in_group=True)
    for one, other, topic, count in PAIRS:
        messages = talk(rng, topic, count, [one, other], now_ms)
        if one == SPAM_SENDER:
            messages += wave(rng, WAVE[other], now_ms)
        yield (
            {"kind": "private", "user_a": one, "user_b": other},
            completed(rng, messages, media_base, in_group=False),
        )


def talk(rng: random.Random, topic: str, count: int, members: list[str], now_ms: int) -> list[Message]:
    """`count` text messages; lines of a topic often follow each other, as in a real chat."""
    lines, place, messages = TALK[topic], 0, []
    times = sorted(rng.sample(range(now_ms - DAY_LENGTH, now_ms - MINUTE), count))
    for timestamp in times:
        place = place + 1 if rng.random() < 0.8 else rng.randrange(len(lines))
        text = lines[place % len(lines)]
        messages.append({"timestamp": timestamp, "senderId": members[place % len(members)], "payload": {"text": text}})
    return messages


def wave(rng: random.Random, count: int, now_ms: int) -> list[Message]:
    """`count` messages of the spammer within eight minutes."""
    begin = now_ms - 25 * MINUTE
    return [
        {
            "timestamp": begin + number * 8 * MINUTE // max(count, 1) + rng.randrange(900),
            "senderId": SPAM_SENDER,
            "payload": {"text": rng.choice(SPAM).format(n=rng.randrange(3, 99))},
        }
        for number in range(count)
    ]


def unusual_messages(now_ms: int) -> list[Message]:
    """Unusual and hostile messages that the console has to display safely."""
    twin = now_ms - 14 * MINUTE
    odd: list[tuple[int, str, Any]] = [
        (twin, "u-1003", {"text": "谁在三号楼？帮我看下快递"}),
        (twin, "u-1006", {"text": "Two of us pressed send at the very same moment."}),
        (now_ms - 13 * MINUTE, "u-1011", {"text": "<script>alert(1)</script><img src=x onerror=alert(2)>"}),
        (now_ms - 12 * MINUTE, "user 42", {"text": "open the attached \u202egnp.exe\u202c please"}),
        (now_ms - 11 * MINUTE, "u-1004", {"text": "🎉🥳" * 380}),
        (now_ms - 10 * MINUTE, "u-1007", "直接就是一段文字的消息"),
        (now_ms - 9 * MINUTE, "u-1002", json.dumps({"text": "JSON inside a string"})),
        (now_ms - MINUTE, "u-1001", {"text": "刚刚是不是有人在群里发广告？管理员在吗"}),
    ]
    messages: list[Message] = [
        {"timestamp": at, "senderId": sender, "type": "text", "payload": payload} for at, sender, payload in odd
    ]
    wrong = {"timestamp": now_ms - 8 * MINUTE, "senderId": "u-1011", "type": "image", "payload": {"width": "wide"}}
    return [*messages, wrong]


def completed(rng: random.Random, messages: list[Message], media_base: str, *, in_group: bool) -> list[Message]:
    """Sort and complete the messages; some get an attachment or a custom type, and some are recalled."""
    messages.sort(key=lambda message: message["timestamp"])
    for number, message in enumerate(messages):
        spam = message["senderId"] == SPAM_SENDER
        if "type" not in message:
            message["type"] = "text"
            if number % 23 == 11 and not spam and isinstance(message["payload"], dict):
                message["type"], message["payload"] = attachment(number, media_base)
            elif number % 89 == 17:  # the two other formats of a text payload
                text = message["payload"]["text"]
                message["payload"] = text if number % 2 else json.dumps({"text": text}, ensure_ascii=False)
        if number % 61 == 40 and not spam:
            message["recalled"] = True
            message["recaller"] = {"id": message["senderId"], "data": {"name": PEOPLE[message["senderId"]]}}
        if in_group:
            sender = message["senderId"]
            message["senderData"] = {"name": PEOPLE[sender], "avatar": f"{media_base}/avatar-{len(sender)}.png"}
        message["messageId"] = f"{rng.getrandbits(128):032x}"
    return messages


def attachment(number: int, base: str) -> tuple[str, dict[str, Any]]:
    """A type other than text, and its payload (docs/goeasy-api.md, "Message types and payloads")."""
    picture = {"url": f"{base}/photo-{number}.png", "name": f"photo-{number}.png", "contentType": "image/png"}
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("image", {**picture, "width": 320, "height": 200, "size": 48_213}),
        (
            "audio",
            {
                "url": f"{base}/voice.wav",
                "name": "voice.wav",
                "contentType": "audio/wav",
                "duration": 1.0,
                "size": 8_044,
            },
        ),
        ("video", {"video": {"url": f"{base}/clip.mp4", "duration": 12.4, "size": 1_204_233}, "thumbnail": picture}),
        (
            "file",
            {
                "url": f"{base}/handout.pdf",
                "name": "讲义 handout.pdf",
                "contentType": "application/pdf",
                "size": 90_112,
            },
        ),
        ("order", {"orderId": f"A-{20_000 + number}", "items": [{"sku": "tea-200g", "count": 2}], "total": 128.5}),
        ("location", {"name": "东门", "latitude": 31.2304, "longitude": 121.4737}),
        ("red-packet", {"amount": 8.88, "greeting": "恭喜发财", "count": 5}),
    ]
    return kinds[(number // 23) % len(kinds)]
