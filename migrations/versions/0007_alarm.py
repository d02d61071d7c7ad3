"""How the alarm stood when a version was published.

Downgrade is not offered: a version that began anew would be taught on as if it knew the whole log. To go back, restore
a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("models", sa.Column("alarm", sa.Text()))
