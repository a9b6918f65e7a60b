"""Names from outside, made fit to be shown."""

import unicodedata


def clean(text: str) -> str:
    """The text without control and direction-changing characters, which could garble a file or mislead a reader."""
    shown = (
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn") else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )
    return "".join(shown)


def short(text: str, length: int = 28) -> str:
    """The cleaned text, cut to what fits beside a mark."""
    text = clean(text)
    return text if len(text) <= length else text[: length - 1] + "…"
