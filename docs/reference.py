"""The reference as Markdown: what `cov-study --help` and the configuration's models know, and nothing written by hand.

python docs/reference.py commands|configuration
"""

import ast
import inspect
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from study.settings.reading import PRESETS
from study.settings.schema import StudyConfig

STATUS = """
Exit status: 0 done; 1 the input or the data is wrong (one line on stderr; `--debug` shows where); 2 usage; 3 finished
with failed trials; 130 interrupted, and resumable. `python -m study` is the same as `cov-study`.
"""


def commands() -> str:
    """The page of the commands, as typer writes it."""
    typer = [sys.executable, "-m", "typer", "study.commands.app", "utils", "docs"]
    command = [*typer, "--name", "cov-study", "--title", "Commands"]
    page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    head, usage, rest = page.partition("**Usage**")
    return f"{head.rstrip()}\n{STATUS}\n{usage}{rest}"


def configuration() -> str:
    """The page of the configuration: a table for each model, outermost first, then the presets."""
    lines = [
        "# Configuration",
        "",
        "A study is one YAML file. Every key has a default except `arms`; an unknown key is an error that names the "
        "nearest known one. On the command line `-o training.epochs=20` sets any key. The resolved configuration is "
        "`study.yaml` in the study's folder.",
        "",
    ]
    # Everything about the simulation is long, and comes last.
    for path, model in sorted(sections(StudyConfig), key=lambda section: section[0].startswith("cohort.virtual")):
        lines += [f"## {f'`{path}`' if path else 'The study'}", "", inspect.cleandoc(model.__doc__ or ""), ""]
        lines += [*(_matrix(model) if _alike(model) else _table(path, model)), ""]
    for preset in ("smoke", "demo", "paper"):
        text = (PRESETS / f"{preset}.yaml").read_text(encoding="utf-8").rstrip()
        lines += [f"## The preset `{preset}`", "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all that its fields hold, by the path of their key."""
    yield path, model
    if not _alike(model):
        for name, field in model.model_fields.items():
            for child in _models(field.annotation):
                yield from sections(child, _key(path, name, field.annotation))


def _key(path: str, name: str, annotation: Any) -> str:
    is_mapping = getattr(annotation, "__origin__", None) is dict
    return ".".join(part for part in (path, name, "<name>" if is_mapping else "") if part)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models(argument)]


def _alike(model: type[BaseModel]) -> bool:
    """Whether all its fields hold one and the same model, as the tissues of the virtual head do."""
    kinds = [field.annotation for field in model.model_fields.values()]
    return len(kinds) > 1 and len(set(kinds)) == 1 and bool(_models(kinds[0]))


def _matrix(model: type[BaseModel]) -> Iterator[str]:
    """A row a field, a column for each of their keys, filled with the defaults."""
    (child,) = {child for field in model.model_fields.values() for child in _models(field.annotation)}
    yield f"**Each of these.** {inspect.cleandoc(child.__doc__ or '')}"
    yield ""
    yield from (f"- `{name}`: {text}" for name, text in documentation(child).items())
    yield ""
    yield f"| key | {' | '.join(f'`{name}`' for name in child.model_fields)} |"
    yield "|---" * (1 + len(child.model_fields)) + "|"
    for name, field in model.model_fields.items():
        defaults = (_plain(getattr(field.default, inner)) for inner in child.model_fields)
        yield f"| `{name}` | {' | '.join(defaults)} |"


def _table(path: str, model: type[BaseModel]) -> Iterator[str]:
    """A row a key."""
    schema = model.model_json_schema()
    notes = documentation(model)
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        key = f"[`{name}`](#{_anchor(_key(path, name, field.annotation))})" if inner else f"`{name}`"
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else "" if inner and default is not None else f"`{_plain(default)}`"
        kind = "" if inner else _kind(schema["properties"][name], schema.get("$defs", {}))
        note = notes.get(name) or (inspect.cleandoc(inner[0].__doc__ or "").splitlines()[0] if inner else "")
        yield f"| {key} | {kind} | {shown} | {_cell(note)} |"


def _anchor(key: str) -> str:
    """As mkdocs makes it of a heading."""
    return "".join(c for c in key if c.isalnum() or c in "_-").lower()


def _plain(value: Any) -> str:
    return json.dumps(value, default=str).replace('"', "") if value is not None else "null"


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        kinds = [_kind(option, definitions) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _limits(schema)
        case "array":
            items = schema.get("items") or next(iter(schema.get("prefixItems", [])), {})
            inner = _kind(items, definitions)
            fixed = schema.get("minItems") if schema.get("minItems") == schema.get("maxItems") else None
            return f"{fixed} x {inner}" if fixed else f"list of {inner}"
        case "object":
            return "mapping"
        case "boolean":
            return "true or false"
        case "string":
            return "path" if schema.get("format") == "path" else "text"
        case _:
            return "anything"


def _limits(schema: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if abs(schema.get(key, 1e18)) < 1e18]
    return f" {', '.join(said)}" if said else ""


def documentation(model: type[BaseModel]) -> dict[str, str]:
    """What the source says of each field: the string below it, or the comment beside it."""
    found: dict[str, str] = {}
    for cls in reversed([c for c in model.__mro__ if issubclass(c, BaseModel) and c is not BaseModel]):
        source = textwrap.dedent(inspect.getsource(cls))
        lines = source.splitlines()
        (body,) = ast.parse(source).body
        assert isinstance(body, ast.ClassDef)
        for statement, below in zip(body.body, [*body.body[1:], None], strict=True):
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            assert statement.end_lineno is not None
            _, mark, comment = lines[statement.end_lineno - 1][statement.end_col_offset :].partition("#")
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[statement.target.id] = inspect.cleandoc(str(below.value.value))
            elif mark and not comment.strip().startswith(("type:", "noqa")):
                found[statement.target.id] = comment.strip()
    return found


def _cell(text: str) -> str:
    return re.sub(r"\bNone\b", "`null`", " ".join(text.split()).replace("|", "\\|"))


if __name__ == "__main__":
    print({"commands": commands, "configuration": configuration}[sys.argv[1]]())
