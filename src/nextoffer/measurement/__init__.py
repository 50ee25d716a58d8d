"""Did it pay? Treated minus holdout, with intervals that stay honest for small holdouts and skewed spend."""
