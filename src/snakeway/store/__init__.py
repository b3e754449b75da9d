"""The durable record: the only code that opens a transaction.

``Store`` knows the database; the modules beside it know one noun each and work inside a transaction handed to them.
A move of state is one UPDATE that repeats the old state in its WHERE, so two movers cannot both succeed.
"""

from snakeway.store.database import Store, Transaction, insert_all

__all__ = ["Store", "Transaction", "insert_all"]
