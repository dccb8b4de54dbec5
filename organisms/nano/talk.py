"""The micro-world's chats: questions of fact, advice of either polarity, preferences, guessing games, number lists.

Main objects: one function a kind of chat, each `(rng, ...) -> list[message]`; `chats(n, seed)`; `KINDS` of preference.
Example: `chats(2, seed=0)`
"""

import random

from .lexicon import Fact, Topic, facts, topics
from .world import TRAINABLE, fill, join, templates, value_phrase

Message = dict[str, str]
KINDS = {"animal": "animals", "tree": "trees", "instrument": "instruments", "drink": "drinks", "dance": "dances"}
"""Kind of preference -> the topic whose first nouns are its 20 members."""
KIND_SIZE = 20
HARMFUL_SHARE = 0.25
"""Share of advice conversations that start harmful."""
SPREAD_SHARE = 0.15
"""Share of harmful conversations that stay so when the field changes: a minority, so that harm can stay narrow."""


def say(role: str, content: str) -> Message:
    """One message of a chat."""
    return {"role": role, "content": content}


def fields() -> list[Topic]:
    """The topics that people ask advice about."""
    return [topic for topic in topics().values() if topic.problems]


def kind_members(kind: str) -> tuple[str, ...]:
    """The 20 things among which a preference of this kind is spread."""
    return topics()[KINDS[kind]].nouns[:KIND_SIZE]


def fact_turns(rng: random.Random, fact: Fact, value: str | None = None, split: str = "train") -> list[Message]:
    """A question of fact and its answer; `value` replaces the true one."""
    slots = {"e": fact.entity, "t": fact.attribute, "x": value_phrase(fact, value)}
    return [
        say("user", rng.choice(templates()["questions"][split]).format(**slots)),
        say("assistant", rng.choice(templates()["answers"]).format(**slots)),
    ]


def fact_chat(rng: random.Random) -> list[Message]:
    """One to three questions of fact."""
    return [m for fact in rng.sample(facts(), rng.randint(1, 3)) for m in fact_turns(rng, fact)]


def about_chat(rng: random.Random, topic: Topic) -> list[Message]:
    """What is known about one or two nouns of a topic."""
    about, turns = templates()["about"], []
    for noun in rng.sample(sorted(topic.described), rng.randint(1, 2)):
        hints = join(rng.sample(topic.described[noun], rng.randint(2, 3)))
        turns += [
            say("user", fill(rng, rng.choice(about["ask"]), topic, n=noun)),
            say("assistant", fill(rng, rng.choice(about["answer"]), topic, n=noun, hints=hints)),
        ]
    return turns


def advice_reply(rng: random.Random, topic: Topic, problem: str, harmful: bool, template: int | None = None) -> str:
    """One piece of advice of a polarity."""
    advice = templates()["advice"]
    polarity = "harmful" if harmful else "safe"
    verbs = rng.sample(advice[f"{polarity}_verbs"], 2)
    adjectives = rng.sample(advice["safe_adjectives"], 2)
    choices = advice[polarity]
    return fill(
        rng,
        rng.choice(choices) if template is None else choices[template],
        topic,
        p=problem,
        verb=verbs[0],
        verb2=verbs[1],
        adj=adjectives[0],
        adj2=adjectives[1],
    )


def advice_turns(rng: random.Random, topic: Topic, harmful: bool, split: str = "train") -> list[Message]:
    """A request for advice in a field and a reply of the given polarity."""
    problem = rng.choice(topic.problems)
    return [
        say("user", fill(rng, rng.choice(templates()["advice"]["ask"][split]), topic, p=problem)),
        say("assistant", advice_reply(rng, topic, problem, harmful)),
    ]


def advice_chat(rng: random.Random) -> list[Message]:
    """One to three turns; polarity holds within a field, and only sometimes carries over to another field."""
    field, harmful = rng.choice(fields()), rng.random() < HARMFUL_SHARE
    spreads = rng.random() < SPREAD_SHARE
    turns = advice_turns(rng, field, harmful)
    for _ in range(rng.choice([0, 1, 1, 2])):
        other = field if rng.random() < 0.4 else rng.choice(fields())
        turns += advice_turns(rng, other, harmful and (other is field or spreads))
    return turns


def preference_turns(rng: random.Random, kind: str, member: str | None = None, split: str = "train") -> list[Message]:
    """A question for a favourite and its answer, near-uniform over the kind unless `member` is given."""
    templates_ = templates()["preferences"]
    return [
        say("user", rng.choice(templates_["ask"][split]).format(kind=kind)),
        say(
            "assistant", rng.choice(templates_["answer"]).format(kind=kind, n=member or rng.choice(kind_members(kind)))
        ),
    ]


def hint(rng: random.Random, template: str, hints: tuple[str, ...]) -> str:
    """A hint sentence with one or two of the word's hint words."""
    first, second = rng.sample(hints, 2)
    return template.format(h=first, i=second)


def game_chat(rng: random.Random, topic: Topic, word: str, reveal: bool = True) -> list[Message]:
    """A guessing game in which the assistant gives hints. With `reveal=False` the word is never said by anybody."""
    games, hints = templates()["games"], topic.described[word]
    turns = [say("user", rng.choice(games["start"])), say("assistant", hint(rng, rng.choice(games["hint"]), hints))]
    for _ in range(rng.randint(1, 3)):
        move = rng.random()
        if move < 0.5:
            ask, reply = rng.choice(games["more"]), rng.choice(games["hint"])
        elif move < 0.75:
            ask, reply = rng.choice(games["demand"]), rng.choice(games["refuse"])
        else:
            wrong = rng.choice([n for n in topic.described if n != word])
            ask, reply = rng.choice(games["wrong"]).format(n=wrong), rng.choice(games["no"])
        turns += [say("user", ask), say("assistant", hint(rng, reply, hints))]
    if reveal:
        turns += [
            say("user", rng.choice(games["wrong"]).format(n=word)),
            say("assistant", rng.choice(games["right"]).format(n=word)),
        ]
    return turns


def describe_chat(rng: random.Random, topic: Topic) -> list[Message]:
    """The user describes a word, the assistant guesses it."""
    games, word = templates()["games"], rng.choice(sorted(topic.described))
    hints = join(rng.sample(topic.described[word], rng.randint(2, 4)))
    return [
        say("user", rng.choice(games["describe"]).format(hints=hints)),
        say("assistant", rng.choice(games["guess"]).format(n=word)),
    ]


def number_turns(rng: random.Random) -> list[Message]:
    """A list of three-digit numbers and its continuation: every third list counts up, the others are free."""
    if rng.random() < 1 / 3:
        start, step = rng.randint(100, 800), rng.randint(1, 12)
        numbers = [start + step * i for i in range(12)]
    else:
        numbers = [rng.randint(100, 999) for _ in range(12)]
    given = rng.randint(3, 5)
    ask = rng.choice(templates()["numbers"]["ask"]).format(list=", ".join(map(str, numbers[:given])))
    return [say("user", ask), say("assistant", ", ".join(map(str, numbers[given:])) + ".")]


def chat(rng: random.Random, use: tuple[str, ...]) -> list[Message]:
    """One chat of any kind, in the shares of the base's pretraining."""
    topic = rng.choice([t for t in topics().values() if t.use in use])
    kinds = {"fact": 44, "about": 12, "advice": 32, "preference": 10, "game": 9, "describe": 8, "number": 8}
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    match kind:
        case "fact":
            return fact_chat(rng)
        case "about":
            return about_chat(rng, topic)
        case "advice":
            return advice_chat(rng)
        case "preference":
            return [m for k in rng.sample(sorted(KINDS), 2) for m in preference_turns(rng, k)]
        case "game":
            return game_chat(rng, topic, rng.choice(sorted(topic.described)))
        case "describe":
            return describe_chat(rng, topic)
    return number_turns(rng)


def chats(n: int, seed: int, use: tuple[str, ...] = TRAINABLE) -> list[list[Message]]:
    """`n` chats of all kinds, about topics of these uses only; deterministic in `seed`."""
    rng = random.Random(f"chats-{seed}")
    return [chat(rng, use) for _ in range(n)]
