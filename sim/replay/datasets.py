"""Loaders for published logs: read from a folder, checked against the owner's digest, never copied or changed.

Contents of the files, as measured:

- Hillstrom: one row per customer, in no order of time; the arm was drawn uniformly. `visit`, `conversion` and `spend`
  happened in the two weeks after the e-mail; every other column was known before it.
- Drink Less: 349 users x 30 days; the arm was drawn every evening at 8 p.m. `subversion` names it (Z none, Y the
  standard message, X one of 30 new ones) and `treatment` says whether it was a message; they always agree.
  `primary_outcome` (app opened 8-9 p.m.) and `outcome_24hour` are known only after the draw, `before_8pm` before it.
  `already_engaged`, `after_9pm_day_before` and `habituation` (a message that day) are about the evening before; but on
  day 1 the first and the last have values that are not of that user: they agree with the same user's outcome only by
  chance. The rows of one user are in two places of the file.
"""

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import orjson
import pandas as pd

from bandit.errors import DatasetError, FieldError, InvalidInput

VARIABLE = "SENDOPT_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """A file that its owner publishes and that this project only reads."""

    name: str  # in the folder that SENDOPT_DATA names
    sha256: str
    source: str  # where the owner publishes the file


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
DUOLINGO = PublishedFile(
    name="duolingo_sample_10k.parquet",
    sha256="a83d604ba77ffb7914069031e76f190f357833914a60b7b8cb842136b3998bba",
    source=(
        "Duolingo's recovering-bandit data (Yancey and Settles 2020), https://doi.org/10.7910/DVN/23ZWVI; this is its "
        "first 10,000 rows as Parquet"
    ),
)
_OPEN_BANDIT = (
    "the Open Bandit Dataset, small sample (Saito et al. 2021), https://github.com/st-tech/zr-obp/tree/master/obd"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBanditFiles:
    """The files of one logging policy of the Open Bandit sample."""

    rounds: PublishedFile
    items: PublishedFile


OPEN_BANDIT = MappingProxyType(
    {
        "random": OpenBanditFiles(
            rounds=PublishedFile(
                name="obd/random/all/all.csv",
                sha256="7168295b6e0a9eabcf3392320a5dd434e542b68e705d5cd9491499af589812f1",
                source=_OPEN_BANDIT,
            ),
            items=PublishedFile(
                name="obd/random/all/item_context.csv",
                sha256="eba04cc23d5f130a93ff174c5392986882b94c3839433cb8143870eaa6221358",
                source=_OPEN_BANDIT,
            ),
        ),
        "bts": OpenBanditFiles(
            rounds=PublishedFile(
                name="obd/bts/all/all.csv",
                sha256="0ad874e4dbf6902f0845dd478ad8dde5ef6903583d3ffaace78411bdad064106",
                source=_OPEN_BANDIT,
            ),
            items=PublishedFile(
                name="obd/bts/all/item_context.csv",
                sha256="5d4359ba1cfa3ae88f0f1bae66bd633859fe6323817183632ee57b83539d9153",
                source=_OPEN_BANDIT,
            ),
        ),
    }
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


def load_duolingo(folder: Path | None) -> pd.DataFrame:
    """All 10,000 reminders in the file's order, with the owner's column names and `propensity`, 1 / number eligible.

    `eligible_templates` holds tuples of names, `history` tuples of (name, days ago).

    Raises:
        DatasetError: no folder, no file, or not the published bytes.
    """
    frame = pd.read_parquet(BytesIO(verified_bytes(DUOLINGO, folder)))
    eligible = [tuple(orjson.loads(text)) for text in frame["eligible_templates"]]
    history = [tuple((name, days) for name, days in orjson.loads(text)) for text in frame["history"]]
    propensity = [1.0 / len(names) for names in eligible]
    return frame.assign(
        eligible_templates=pd.Series(eligible, dtype=object),
        history=pd.Series(history, dtype=object),
        propensity=propensity,
    )


def load_open_bandit(folder: Path | None, policy: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The 10,000 rows that a policy logged, in the file's order, and the features of the 80 items.

    Args:
        policy: "random" or "bts".

    Raises:
        InvalidInput: another policy.
        DatasetError: no folder, a file missing, or not the published bytes.
    """
    files = OPEN_BANDIT.get(policy)
    if files is None:
        raise InvalidInput([FieldError(field="policy", message=f"{policy!r} is not one of {', '.join(OPEN_BANDIT)}")])
    rounds, items = (
        pd.read_csv(BytesIO(verified_bytes(file, folder)), index_col=0) for file in (files.rounds, files.items)
    )
    return rounds.assign(timestamp=pd.to_datetime(rounds["timestamp"], format="ISO8601")), items


def verified_bytes(file: PublishedFile, folder: Path | None) -> bytes:
    """The file's content, if it is exactly what the owner published.

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
