"""Alembic scripts, a package so that an installed wheel can migrate; run by `bandit.store.sql.migrate`.

A new version is drafted from the difference between a migrated database and the declared schema:

    with store.write() as connection:
        alembic.command.revision(config(connection), "what changes", rev_id="0002", autogenerate=True)

then read, corrected and left alone for good: a version that was released is never edited.
"""
