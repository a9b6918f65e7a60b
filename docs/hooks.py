"""Writes two pages of the reference while mkdocs builds: the commands from typer, the configuration from pydantic."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import reference


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those of the folder."""
    pages: dict[str, Any] = {"commands.md": reference.commands, "configuration.md": reference.configuration}
    for name, write in pages.items():
        files.append(File.generated(config, name, content=write()))
    return files
