"""Search for better options under a clock: what `nlpseq tune` does.

spaces.py (which options are searched, and their values), clock.py (what the minutes are spent on), sampler.py (Optuna,
which proposes values), trial.py (the table of what was tried), trainer.py (one trial: a training run in a folder of its
own), search.py (the course from the first trial to the best one), listener.py (which is told about it), parts.py (the
part that no trial sees), named_part.py (the same if the user names it) and tuning_run.py (from the request to the run
folder). None of them imports torch or Optuna before it is used.
"""
