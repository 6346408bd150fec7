"""Assign classes to train, val and test: disjoint, and the same on every machine.

Rules by the class's number, each from the code or the list that a paper published:

- `hmdrn` (CUB, 130/20/50): a number that leaves 3 when divided by 4 is test; one that leaves 1 and is over
  120 is val; the rest is train. The HMDRN authors refer to the file split.txt of Bi-FRN (Wu et al., AAAI
  2023, github.com/PRIS-CV/Bi-FRN), whose names follow this rule without exception.
- `frn` (CUB, 100/50/50; Aircraft, 50/25/25): even train, 1 by 4 val, 3 by 4 test. The code of FRN
  (Wertheimer et al., CVPR 2021, github.com/Tsingularity/FRN) counts CUB's classes from 1, and Aircraft's, in
  the order of variants.txt, from 0.
- `chen` (CUB, 100/50/50): the same counted from 0, so that its test classes differ from FRN's. From the code
  of Chen et al. (A Closer Look at Few-shot Classification, ICLR 2019,
  github.com/wyharveychen/CloserLookFewShot).

For Stanford Dogs (70/20/30) and Cars (130/17/49) the papers used random lists that no published code makes.
`seeded` draws other random classes of the same sizes; results on it are not those of a paper's split. A
paper's own list can be passed as a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hmdrn.dataset_prep.text_tables import safe_label
from hmdrn_runtime.errors import DatasetError
from hmdrn_runtime.images.source import describe_source
from hmdrn_runtime.io.files import describe_os_error, expand_path
from hmdrn_runtime.io.json_document import JsonObject

SPLITS = ("train", "val", "test")

Split: TypeAlias = dict[str, str]
"""The split of every kept class, by its label."""


@dataclass(frozen=True)
class Rule:
    """A rule that splits classes.

    Attributes:
        origin: Its origin, for the record.
        split: Returns the split of each class, given the classes by number and a seed.
        is_seeded: True if the seed matters.
    """

    origin: str
    split: Callable[[Mapping[int, str], int], Split]
    is_seeded: bool = False


def make_numbered_rule(split_of: Callable[[int], str], origin: str) -> Rule:
    """Make a rule that depends on a class's number only."""
    return Rule(origin, lambda classes, seed: {label: split_of(number) for number, label in classes.items()})


def split_hmdrn_paper(number: int) -> str:
    """Return the split of a CUB class as in Bi-FRN and HMDRN; numbers from 1."""
    if number % 4 == 3:
        return "test"
    return "val" if number % 4 == 1 and number > 120 else "train"


def split_alternating(number: int) -> str:
    """Return the split of a class in turn: half train, a quarter val, a quarter test."""
    if number % 2 == 0:
        return "train"
    return "val" if number % 4 == 1 else "test"


def make_seeded_rule(train: int, val: int, test: int) -> Rule:
    """Make a rule of random classes, the same for a seed everywhere; sizes scale with the class count."""
    total = train + val + test

    def split(classes: Mapping[int, str], seed: int) -> Split:
        # A hash, since a generator of random numbers may differ between versions of its library.
        order = sorted(
            classes.values(), key=lambda label: hashlib.sha256(f"{seed}/{label}".encode()).digest()
        )
        names = ["test"] * round(len(order) * test / total) + ["val"] * round(len(order) * val / total)
        return {label: names[i] if i < len(names) else "train" for i, label in enumerate(order)}

    return Rule(
        f"random classes by seed, {train}/{val}/{test} as in the papers, but not the papers' own classes",
        split,
        is_seeded=True,
    )


def read_split(given: Path, labels: Sequence[str]) -> Split:
    """Read the split in a JSON file {"train": [names], "val": [names], "test": [names]}.

    Classes that the file does not name are left out; a name may have the slashes of the original list.

    Raises:
        DatasetError: The file cannot be read, or names an unknown class, or the same class twice.
    """
    path, shown = expand_path(given, DatasetError), describe_source(given)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{shown} cannot be read ({describe_os_error(error)}): check the path") from error
    document = JsonObject.parse(data, shown, DatasetError)
    known, split = set(labels), Split()
    for split_name in SPLITS:
        for name in document.sequence(split_name, str):
            label = safe_label(name, shown)
            if label not in known:
                raise DatasetError(
                    f"{shown} names {name!r}, which is not a class of this data set, such as {labels[0]!r}"
                )
            if label in split:
                raise DatasetError(f"{shown} names {name!r} twice: a class belongs to one split")
            split[label] = split_name
    if not split:
        raise DatasetError(f"{shown} names no class: list some under {', '.join(SPLITS)}")
    return split
