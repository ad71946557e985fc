"""Tables of a run as views of DuckDB."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slm_lens.corpus.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def connect(store: Store, files: Mapping[str, list[str]]) -> "DuckDBPyConnection":
    """A connection with a view for each table.

    Args:
        store: where the files are.
        files: Parquet files of each table; one without files has no view.

    Returns:
        The connection, to a database in memory.

    Raises:
        ImportError: duckdb is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise ImportError(
            "CorpusRun.duckdb needs duckdb: pip install 'slm-lens[query]'. Without it, the lazy "
            "polars frames hold the same tables."
        ) from error
    connection = duckdb.connect()
    if store.filesystem is not None:
        connection.register_filesystem(store.filesystem)
    for table, names in files.items():
        if names:
            connection.read_parquet([store.location(n) for n in names]).create_view(table)
    return connection
