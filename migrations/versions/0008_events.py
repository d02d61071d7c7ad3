"""Which events a closed reward was made of, with the worth of each.

Rows that closed before keep null: the learning pass then works their events out from the feedback that was seen.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("closings", sa.Column("events", sa.Text()))
