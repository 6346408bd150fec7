"""Which classes go into train, val and test: disjoint, and the same on every machine.

Rules by the class's number, each read off the code or the list that a paper published:

- `hmdrn` (CUB, 130/20/50): every number that leaves 3 when divided by 4 is test; those that leave 1 and are
  over 120 are val; the rest is train. The HMDRN authors refer to the file split.txt of Bi-FRN (Wu et al.,
  AAAI 2023, github.com/PRIS-CV/Bi-FRN), whose names follow this rule without an exception.
- `frn` (CUB, 100/50/50; Aircraft, 50/25/25): even train, 1 by 4 val, 3 by 4 test. The code of FRN
  (Wertheimer et al., CVPR 2021, github.com/Tsingularity/FRN) counts CUB's classes from 1 and Aircraft's,
  in the order of variants.txt, from 0.
- `chen` (CUB, 100/50/50): the same, counted from 0, so that other classes are test than FRN's. From the code
  of Chen et al. (A Closer Look at Few-shot Classification, ICLR 2019,
  github.com/wyharveychen/CloserLookFewShot).

For Stanford Dogs (70/20/30) and Cars (130/17/49) the papers used random lists that no published code makes.
`seeded` makes other random classes of the same sizes; results on it are not those of a paper's split. Whoever
has a paper's list passes it as a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hmdrn.dataset_prep.naming import safe_label
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.io.files import reason, user_path
from hmdrn_runtime.io.json_document import JsonObject

SPLITS = ("train", "val", "test")

Split: TypeAlias = dict[str, str]
"""The split of every class that is kept."""


@dataclass(frozen=True)
class Rule:
    """A way to split.

    Attributes:
        told: Where it comes from, for the record.
        split: The split of each class, given the classes by number and a seed.
        seeded: Whether the seed matters.
    """

    told: str
    split: Callable[[Mapping[int, str], int], Split]
    seeded: bool = False


def by_number(place: Callable[[int], str], told: str) -> Rule:
    """A rule that looks at a class's number only."""
    return Rule(told, lambda classes, seed: {label: place(number) for number, label in classes.items()})


def hmdrn(number: int) -> str:
    """The split of a CUB class as in Bi-FRN and HMDRN; numbers from 1."""
    if number % 4 == 3:
        return "test"
    return "val" if number % 4 == 1 and number > 120 else "train"


def alternating(number: int) -> str:
    """Half the classes train, a quarter val, a quarter test, turn by turn."""
    if number % 2 == 0:
        return "train"
    return "val" if number % 4 == 1 else "test"


def seeded(train: int, val: int, test: int) -> Rule:
    """Random classes, the same for a seed everywhere; sizes in proportion where there are more or fewer."""
    total = train + val + test

    def split(classes: Mapping[int, str], seed: int) -> Split:
        # A hash, since a generator of random numbers may differ between versions of its library.
        order = sorted(
            classes.values(), key=lambda label: hashlib.sha256(f"{seed}/{label}".encode()).digest()
        )
        held = round(len(order) * test / total)
        checked = round(len(order) * val / total)
        places = ["test"] * held + ["val"] * checked
        return {label: places[i] if i < len(places) else "train" for i, label in enumerate(order)}

    return Rule(
        f"random classes by seed, {train}/{val}/{test} as in the papers, but not the papers' own classes",
        split,
        seeded=True,
    )


def read_split(given: Path, labels: Sequence[str]) -> Split:
    """The split in a JSON file {"train": [names], "val": [names], "test": [names]}.

    Classes that it does not name are left out; a name may have the slashes of the original list.

    Raises:
        DatasetError: It cannot be read, names a class that there is not, or one twice.
    """
    path, shown = user_path(given, DatasetError), describe_source(given)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{shown} cannot be read ({reason(error)}): check the path") from error
    document = JsonObject.parse(data, shown, DatasetError)
    known, split = set(labels), Split()
    for place in SPLITS:
        for name in document.sequence(place, str):
            label = safe_label(name, shown)
            if label not in known:
                raise DatasetError(
                    f"{shown} names {name!r}, which is no class of this data set, such as {labels[0]!r}"
                )
            if label in split:
                raise DatasetError(f"{shown} names {name!r} twice: a class belongs to one split")
            split[label] = place
    if not split:
        raise DatasetError(f"{shown} names no class: list some under {', '.join(SPLITS)}")
    return split
