"""`cov-study synthesize`: the trained model of an arm on new images."""

from pathlib import Path
from typing import Annotated

import typer

from study.commands.options import Directory


def synthesize(
    directory: Directory,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A NIfTI file, a folder of them, or a BIDS folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A file; for a folder a folder.")],
    arm: Annotated[str | None, typer.Option(help="Its best validated model is used.")] = None,
    trial: Annotated[str | None, typer.Option(metavar="KEY", help="The model of this trial is used.")] = None,
    mask: Annotated[
        Path | None, typer.Option(help="The image's mask; for a folder a folder of masks with the same names.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Apply a trained model to new images: its affine, orientation and units are those of the input."""
    from study.commands.bars import Bars
    from study.synthesis.apply import synthesize as apply

    with Bars() as bars:
        written = apply(directory.absolute(), source, out, arm=arm, key=trial, mask=mask, force=force, onlooker=bars)
    for path in written:
        print(path)
