"""Values of options that are not on the command line.

declared.py (what a command declares), config_file.py (`--config`), run_options.py (`--like`), variables.py
(`NLPSEQ_...`), layers.py (which of them wins) and defaults.py, which gives them to a command's parser.
"""
