"""A/A tests of the experiment procedure: how often it claims what is not there, how often it finds what is."""
