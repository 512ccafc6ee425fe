"""Which words of the transcripts the lexicon cannot spell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Coverage:
    """What is missing for one file of transcripts.

    missing: for each word without a pronunciation, the ids of the utterances it is in (an id
    stands as often as the word does), in the order of falling count.
    """

    name: str
    utterances: int = 0
    words: int = 0
    distinct: int = 0
    missing: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, transcripts: Mapping[str, Sequence[str]], known: Callable[[str], bool]
    ) -> Coverage:
        """Count over `transcripts` (utterance id -> words); `known` tells what can be spelled."""
        vocabulary: dict[str, bool] = {}
        result = cls(name, utterances=len(transcripts))
        for utterance, words in transcripts.items():
            result.words += len(words)
            for word in words:
                if word not in vocabulary:
                    vocabulary[word] = known(word)
                if not vocabulary[word]:
                    result.missing.setdefault(word, []).append(utterance)
        result.distinct = len(vocabulary)
        ranked = sorted(result.missing.items(), key=lambda item: (-len(item[1]), item[0]))
        result.missing = dict(ranked)
        return result

    @property
    def missing_utterances(self) -> list[str]:
        """Ids of the utterances with at least one missing word, sorted."""
        return sorted({name for names in self.missing.values() for name in names})

    def summary(self) -> str:
        """One line of counts."""
        occurrences = sum(map(len, self.missing.values()))
        share = 100.0 * occurrences / max(1, self.words)
        return (
            f"{self.name}: {self.words} words ({self.distinct} distinct) in {self.utterances} "
            f"utterances; not in the lexicon: {len(self.missing)} distinct, {occurrences} "
            f"occurrences ({share:.2f} %), in {len(self.missing_utterances)} utterances"
        )

    def details(self, words: int | None = None, utterances: int | None = None) -> list[str]:
        """A line `WORD count utterance utterance ...` for each missing word, longest lists cut.

        `words` and `utterances` limit how many are named; None names all.
        """
        lines = []
        for word, names in list(self.missing.items())[:words]:
            unique = list(dict.fromkeys(names))
            more = " ..." if utterances is not None and len(unique) > utterances else ""
            lines.append(f"  {word} {len(names)} {' '.join(unique[:utterances])}{more}")
        if words is not None and len(self.missing) > words:
            lines.append(f"  ... and {len(self.missing) - words} more words")
        return lines
