"""Use cases of API, worker, console and command line.

They raise `StoreUnavailableError` while Redis does not answer, and `LedgerUnavailableError` while the ledger does not.
"""
