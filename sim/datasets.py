"""Loaders for published logs: read from a folder, checked against the owner's bytes, never copied or changed.

What the files hold, measured:

- Hillstrom: one row a customer, in no order of time; the arm was drawn evenly. `visit`, `conversion` and `spend` came
  in the two weeks after the e-mail; every other column was known before it.
- Drink Less: 349 users x 30 days; every evening at 8 p.m. the arm was drawn anew. `subversion` names it (Z none, Y the
  standard message, X one of 30 new ones) and `treatment` says whether it was a message; they never disagree.
  `primary_outcome` (app opened 8-9 p.m.) and `outcome_24hour` came after the draw. `before_8pm` was known.
  `already_engaged` and `after_9pm_day_before` speak of the evening before, and so does `habituation` (a message that
  day); but on day 1 the first and the last hold what is not that user's: they agree with the same user's outcome no
  more than by chance. The rows of one user lie in two places of the file.
"""

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pandas as pd

from bandit.errors import DatasetError

VARIABLE = "SENDOPT_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """A file that its owner publishes and that this project only reads."""

    name: str  # in the folder that SENDOPT_DATA names
    sha256: str
    source: str  # where the owner publishes it


HILLSTROM = PublishedFile(
    name="hillstrom.csv",
    sha256="0e5893329d8b93cefecc571777672028290ab69865718020c78c7284f291aece",
    source=(
        "Kevin Hillstrom's MineThatData e-mail challenge of 2008, http://www.minethatdata.com/"
        "Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv"
    ),
)
DRINKLESS = PublishedFile(
    name="drinkless_mrt.csv",
    sha256="b1b4443468a754abd32e42064562c9bc0d7b354d95925026b9446c46c9b772a3",
    source=(
        "the Drink Less micro-randomised trial (Bell et al. 2023, doi 10.2196/38342), https://osf.io/w3szp, "
        "where it is the R file 'FINAL Dataset_A.rds'; this is that table as comma-separated text"
    ),
)


def load_hillstrom(folder: Path | None) -> pd.DataFrame:
    """All 64,000 customers in the file's order, with the owner's column names.

    Raises:
        DatasetError: no folder, no file, or not the published bytes.
    """
    return pd.read_csv(BytesIO(verified_bytes(HILLSTROM, folder)))


def load_drinkless(folder: Path | None) -> pd.DataFrame:
    """All 10,470 evenings, sorted by day and then user, with the owner's column names.

    Raises:
        DatasetError: no folder, no file, or not the published bytes.
    """
    frame = pd.read_csv(BytesIO(verified_bytes(DRINKLESS, folder)))
    return frame.sort_values(["days_since_download", "ID"], ignore_index=True)


def verified_bytes(file: PublishedFile, folder: Path | None) -> bytes:
    """The file's content, when it is exactly what the owner published.

    Raises:
        DatasetError: no folder, no file, or other bytes; says what was expected, what was found and where to get it.
    """
    if folder is None:
        raise _error(file, f"{file.name}: {VARIABLE} does not name the folder of the real logs")
    path = folder / file.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _error(file, f"{path}: cannot be read ({error.strerror}); {VARIABLE} names its folder") from error
    found = sha256(content).hexdigest()
    if found != file.sha256:
        raise _error(file, f"{path}: is not the published file, its SHA-256 is {found}; {VARIABLE} names its folder")
    return content


def _error(file: PublishedFile, what: str) -> DatasetError:
    return DatasetError(f"{what}. Expected SHA-256 {file.sha256}. Published by {file.source}")
