"""CITATION.cff agrees with the package. The file is so simple that the tests read it line by line."""

import re

from conftest import ROOT

import edgel3_np
from edgel3_np.released.catalogue import CITATIONS

TEXT = (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_version_is_that_of_the_package():
    assert re.findall(r"^version: (.+)$", TEXT, re.M) == [edgel3_np.__version__]
    assert re.findall(r"^cff-version: (.+)$", TEXT, re.M) == ["1.2.0"]


def test_the_papers_are_those_that_models_name():
    """Each reference is formatted as in `CITATIONS`: authors. title. venue and year."""
    found = set()
    for reference in TEXT.split("\n  - type: conference-paper\n")[1:]:
        names = re.findall(r"{family-names: (.+), given-names: (.+)}", reference)
        (title,), (venue,) = (
            re.findall(rf'^    {key}: "?(.+?)"?$', reference, re.M) for key in ("title", "collection-title")
        )
        (year,) = re.findall(r"^    year: (\d+)$", reference, re.M)
        assert venue.endswith(year)
        found.add(f"{', '.join(f'{given} {family}' for family, given in names)}. {title}. {venue}.")
    assert found == set(CITATIONS.values())
