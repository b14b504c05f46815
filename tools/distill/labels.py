"""Classes of held-out clips, for linear probes: `labels.tsv` maps a package and a pattern of the path to a class."""

import csv
import re
from pathlib import Path

LABELS = Path(__file__).with_name("labels.tsv")


def read_labels(path=LABELS):
    """Read the rules: a list of (package, pattern, class); an empty class leaves a clip out."""
    with open(path, newline="") as file:
        return [(row["package"], row["pattern"], row["class"] or None) for row in csv.DictReader(file, delimiter="\t")]


def label_clips(names, rules):
    """Return the class of each clip by the first rule that matches, or None.

    Examples
    --------
    >>> label_clips([("farm", "x/dog.ogg"), ("farm", "x/gate.ogg")], [("farm", "dog|cow", "animal")])
    ['animal', None]
    """
    return [
        next((label for owner, pattern, label in rules if owner == package and re.search(pattern, name)), None)
        for package, name in names
    ]
