"""Names of tables and columns as the words that people use for them: split, inflected, abbreviations written out."""

import re

from text2sql.synth.grammar import read_yaml

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\s]+")
_JOINT = re.compile(r" (?:in|of|on|at|for|by|to|with|from) ")
_IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "mouse": "mice"}
_SINGULAR = {plural: singular for singular, plural in _IRREGULAR.items()}
NAMES = {kind: frozenset(words.split()) for kind, words in read_yaml("slots.yaml")["names"].items()}
_ABBREVIATIONS: dict[str, str] = read_yaml("slots.yaml")["abbreviations"]


def split_words(identifier: str) -> str:
    """``home_town`` and ``HomeTown`` as "home town"."""
    return " ".join(part for part in _CAMEL.split(identifier) if part).lower()


def written_out(words: str) -> str:
    """The words with known abbreviations in full: "dept no" as "department number"."""
    return " ".join(_ABBREVIATIONS.get(word, word) for word in words.split())


def singular(noun: str) -> str:
    """The English singular of the last word, by rule ("cities" -> "city")."""
    head, _, last = noun.rpartition(" ")
    if last in _SINGULAR:
        last = _SINGULAR[last]
    elif last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "sses", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return f"{head} {last}".strip()


def plural(noun: str) -> str:
    """The English plural of the last word, by rule; a noun that is plural already stays."""
    head, _, last = singular(noun).rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    else:
        last += "s"
    return f"{head} {last}".strip()


def counted(noun: str, one: bool) -> str:
    """Singular or plural; of words joined by a preposition the first are inflected ("singers in concert")."""
    joint = _JOINT.search(noun)
    head, rest = (noun[: joint.start()], noun[joint.start() :]) if joint else (noun, "")
    if head.rpartition(" ")[2] in NAMES["uncounted"]:
        return noun
    return (singular(head) if one else plural(head)) + rest


def ends_with(name: str, kind: str) -> bool:
    """Whether the name's last word is one of ``names`` in ``slots.yaml``; a Chinese name, without spaces, ends with one."""
    last = split_words(name).rpartition(" ")[2]
    return last in NAMES[kind] or (not last.isascii() and last.endswith(tuple(NAMES[kind])))
