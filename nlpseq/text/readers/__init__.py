"""Files to rows of cells, one file a family of formats.

rows.py         a name to its rows: the table of formats
table.py        what a table is, and the record of a format
delimited.py    .tsv and .csv
json_lines.py   .jsonl
parquet.py      .parquet
po.py           .po, gettext catalogues
tmx.py          .tmx, translation memories
fasttext.py     fastText's lines, and folders of a folder for each label
"""
