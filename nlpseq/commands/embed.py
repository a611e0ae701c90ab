"""`nlpseq embed`: a text in, its vector out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from nlpseq.commands import output
from nlpseq.commands.chosen_model import any_model
from nlpseq.commands.filters import Answers, filter_texts
from nlpseq.commands.flags import AnyModel, Device, Quiet, application, command
from nlpseq.commands.inputs import LineOptions
from nlpseq.errors import OptionError
from nlpseq.native.memory import keep_freed_memory
from nlpseq.text.array_files import ArrayWriter
from nlpseq.vectors.embedder import TextEmbedder, TextVector, VectorOptions, spelled, vector_status

app = application("The vector of each text.")

Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write one float32 array [N, D] to a .npy file instead."),
]


@command(app)
def embed(
    model: AnyModel = None,
    output_file: Output = None,
    device: Device = "cpu",
    quiet: Quiet = False,
    *,
    lines: LineOptions,
    vectors: VectorOptions,
) -> None:
    """Write one line for each text or line of a file: its vector, as an array in JSON.

    The vector is the mean of the top layer's states over the text's tokens; of a classifier, what its labels are
    computed from; of a translator, the mean of the encoder's outputs. A line that is blank, too long or not an object
    has null, and a row of zeros in a .npy file. In objects the array is under `vector`, and `status` is ok, in-part
    (only the first 100,000 tokens were read), blank, too-long, no-text, invalid-json or invalid-utf8.

    \b
      nlpseq embed "a dull film"
      nlpseq embed -m checkpoints/lm --normalise --output lines.npy lines.txt
      nlpseq embed --jsonl < in.jsonl | jq -c .vector
    """
    if output_file is not None:
        _check_output(output_file, lines)
    source = lines.find("nlpseq embed", quiet=quiet)
    keep_freed_memory()
    embedder = TextEmbedder.load(any_model(model, quiet=quiet), vectors, device)
    answer, names, processes = embedder.embed_lines, ("vector",), lines.processes_on(device, 1)
    answers = Answers(answer, _as_line, _as_fields, names, vector_status, embedder.by_workers)
    if output_file is None:
        filter_texts(answers, source, lines, quiet=quiet, processes=processes)
        return
    with ArrayWriter(output_file, np.float32, embedder.size, "--output") as file:
        rows = replace(answers, as_line=_no_line, seen=lambda found: file.append(embedder.rows(found)))
        filter_texts(rows, source, lines, quiet=quiet, processes=processes, silent=True)
    vectors_in_words = "1 vector" if file.count == 1 else f"{file.count:,} vectors"
    output.note(f"note: {output_file} has {vectors_in_words} of {embedder.size:,} values", quiet=quiet)


def _check_output(path: Path, lines: LineOptions) -> None:
    """Raises OptionError or RunError if the vectors cannot be written to a file."""
    if lines.objects_out:
        raise OptionError("output and json", "exclude each other: a .npy file has no objects", "--output FILE.npy")
    output.check_target(path, "--output", (".npy",), "vectors")


def _no_line(number: int, vector: TextVector | None) -> str:
    return ""


def _as_line(number: int, vector: TextVector | None) -> str:
    return "null" if vector is None else f"[{', '.join(map(str, vector.values))}]"


def _as_fields(vector: TextVector | None) -> dict[str, Any]:
    return {"vector": None if vector is None else spelled(vector.values)}
