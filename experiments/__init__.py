"""One file per figure; the only place where learners meet environments. `python -m experiments` lists them."""
