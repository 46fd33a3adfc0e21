"""What is asked for, and how requests change it. Pure."""

from __future__ import annotations

from dataclasses import replace

from stream.contracts import Question
from stream.errors import UsageError
from stream.question import phrases_of
from stream.remote.requests import Add, Edit, Get, Remove, Set

MAX_TEXTS = 64
MAX_CHARACTERS = 500


class QuestionBook:
    """The question in force.

    Attributes:
        question: What is asked for.
        revision: Number of changes so far.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.revision = 0
        self._shown = 0

    def change(self, request: Get | Set | Add | Edit | Remove) -> bool:
        """Carry out a request.

        Returns:
            Whether the question is another now.

        Raises:
            UsageError: It cannot be done; nothing has changed.
        """
        before = self.question
        match request:
            case Get():
                after = before
            case Set():
                texts = before.texts if request.texts is None else _phrases(request.texts)
                against = request.negatives
                negatives = before.negatives if against is None else _phrases(against)
                after = replace(before, texts=texts, negatives=negatives)
            case Add():
                held = _held(before, request.negative)
                new = [i for i in _phrases((request.text,), some=True) if i not in held]
                after = _with(before, (*held, *new), request.negative)
            case Edit():
                after = _edited(before, request)
            case Remove():
                after = _without(before, request)
        self._take(after)
        return after != before

    def show(self, label: str | None) -> str:
        """Add an exemplar and return its label; one that is there already is shown again.

        Raises:
            UsageError: The label is a text already, or there are too many.
        """
        name = label_of(label)
        if name is None:
            self._shown += 1
            name = f"like this {self._shown}"
        if name in self.question.texts:
            raise UsageError(f"{name!r} is asked for as a text; give what you show another label")
        exemplars = tuple(dict.fromkeys((*self.question.exemplars, name)))
        self._take(replace(self.question, exemplars=exemplars), anew=True)
        return name

    def _take(self, after: Question, *, anew: bool = False) -> None:
        if not after.labels:
            raise UsageError("nothing would be asked for; add another text first")
        for kind, held in (("texts", after.labels), ("negatives", after.negatives)):
            if len(held) > MAX_TEXTS:
                raise UsageError(f"{len(held)} {kind} are too many; accepted are {MAX_TEXTS}")
            long = next((text for text in held if len(text) > MAX_CHARACTERS), None)
            if long is not None:
                raise UsageError(
                    f"a text of {len(long)} characters is too long; accepted are {MAX_CHARACTERS}"
                )
        self.revision += anew or after != self.question
        self.question = after


def label_of(text: str | None) -> str | None:
    """Return a label as it is shown, None for a blank one.

    Raises:
        UsageError: It is too long.
    """
    name = " ".join((text or "").split())
    if len(name) > MAX_CHARACTERS:
        raise UsageError(
            f"a label of {len(name)} characters is too long; accepted are {MAX_CHARACTERS}"
        )
    return name or None


def _held(question: Question, negative: bool) -> tuple[str, ...]:
    return question.negatives if negative else question.texts


def _with(question: Question, held: tuple[str, ...], negative: bool) -> Question:
    return replace(question, negatives=held) if negative else replace(question, texts=held)


def _phrases(lines: tuple[str, ...], *, some: bool = False) -> tuple[str, ...]:
    phrases = phrases_of(lines)
    empty = next((line for line in lines if not phrases_of((line,))), None)
    if empty is not None or (some and not phrases):
        raise UsageError(f"{empty!r} is not accepted; a text must contain at least one word")
    for phrase in phrases:
        try:
            phrase.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{phrase!r} is not accepted; texts must be valid UTF-8") from None
    return phrases


def _edited(question: Question, request: Edit) -> Question:
    held = _held(question, request.negative)
    old, new = _known(question, request.old, request.negative), _phrases((request.new,), some=True)
    place = held.index(old)
    taken = next((text for text in new if text in held and text != old), None)
    if taken is not None:
        raise UsageError(f"{taken!r} is asked for already; remove {old!r} instead")
    return _with(question, (*held[:place], *new, *held[place + 1 :]), request.negative)


def _without(question: Question, request: Remove) -> Question:
    name = " ".join(request.text.split())
    if not request.negative and name in question.exemplars:
        return replace(question, exemplars=tuple(i for i in question.exemplars if i != name))
    held = _held(question, request.negative)
    gone = _known(question, request.text, request.negative)
    return _with(question, tuple(text for text in held if text != gone), request.negative)


def _known(question: Question, text: str, negative: bool) -> str:
    name = " ".join(text.split()).rstrip(".;!?。；！？．") or text
    held = _held(question, negative)
    if name in held:
        return name
    kind = "negatives" if negative else "texts"
    there = ", ".join(map(repr, held)) or "none"
    raise UsageError(f"{text!r} is not among the {kind}; there are {there}")
