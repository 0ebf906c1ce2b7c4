"""One of several: the only one is taken, a person is asked, or an error lists them."""

from collections.abc import Callable, Sequence

from auditor.errors import ConfigError

Ask = Callable[[str, Sequence[str], str | None], str]  # question, choices, the guess -> the answer
NONE = "none"


def chosen(what: str, choices: Sequence[str], flag: str, ask: Ask | None, otherwise: str | None = None) -> str | None:
    """The choice: asked for where there is somebody to ask, else the only one, or `otherwise` where there is none.

    Raises ConfigError for several choices and nobody to ask, naming the flag that says which.
    """
    guess = choices[0] if choices else otherwise
    if ask is not None:
        answer = ask(what, choices, guess or NONE)
        return None if answer == NONE else answer
    if len(choices) > 1:
        raise ConfigError(f"{len(choices)} {_plural(what)} are here: {', '.join(choices)}; say which with {flag}")
    return guess


def _plural(what: str) -> str:
    return f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
