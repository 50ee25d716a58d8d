"""Decision quality on public data, beside every named peer, in the same run: `make bench-quality DATA=folder`."""
