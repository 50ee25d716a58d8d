"""Who was assigned, what was decided, what happened: written before anything leaves the house."""
