"""One file per format of the ledger; never edited once released."""
