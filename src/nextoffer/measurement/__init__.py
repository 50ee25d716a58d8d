"""Did it pay? Treated minus holdout, with intervals that stay honest for small holdouts and skewed spend.

What happened     records.py (merging.py, costs.py): history and ledger side by side, each order and person once
Who is compared   outcomes.py (observing.py): one look at one experiment; checks.py: may the groups be compared at all
What was caused   experiment.py -> compare.py: groups.py, cuped.py, draws.py, permutation.py -> effect.py
                  families.py, looks.py: many parts, many looks; power.py: before a start; crosscheck.py: tea-tasting
What is not       attribution.py, reach.py, participation.py: put down to offers; kpi/: how the shop does
What people read  readout.py -> report.py, tables.py -> sheet.py: one document, drawn by render.py (terminal), page/
                  (HTML) and frames.py (pandas), in the words of sentences.py, reading.py and cells.py
"""
