"""A first audit.yaml and policy.yaml, written after a look at the data and model they are for."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import ConfigError
from auditor.scaffold.choosing import NONE, Ask, chosen

if TYPE_CHECKING:
    from auditor.scaffold.data import SeenData
    from auditor.scaffold.finding import FoundData
    from auditor.scaffold.models import SeenModel

FILES = ("audit.yaml", "policy.yaml")


def write(
    folder: Path,
    *,
    data: Path | None = None,
    model: Path | None = None,
    factory: str | None = None,
    name: str | None = None,
    ask: Ask | None = None,
) -> list[str]:
    """Write both files; lines that say what was seen, what was guessed, and what to do next.

    What is not named is looked for in the folder; without data there, the built-in digits are taken, and without a
    model, models are trained. `ask` is asked to confirm each guess. Raises AuditorError, writing nothing, for what
    cannot be used, and where several things could be meant and nobody is asked.
    """
    from auditor.scaffold import data as data_section
    from auditor.scaffold import models, texts

    for file in FILES:
        if (folder / file).exists():
            raise ConfigError(f"{folder / file} exists and is not overwritten; name another folder")
    seen = data_section.look(folder, _data(folder, data, model, ask))
    path = model or _model(folder, ask)
    subject = models.look(folder, path, factory, seen, ask) if path else None
    title = _title(name, folder, ask)
    folder.mkdir(parents=True, exist_ok=True)
    section = texts.loaded(subject) if subject else texts.trained(seen.data)
    audit = texts.AUDIT.format(name=json.dumps(title, ensure_ascii=False), data=seen.section, subject=section)
    (folder / "audit.yaml").write_text(audit, encoding="utf-8")
    (folder / "policy.yaml").write_text(texts.POLICY.format(name=title), encoding="utf-8")
    return _said(folder, seen, subject)


def _said(folder: Path, seen: "SeenData", subject: "SeenModel | None") -> list[str]:
    facts = seen.data
    lines = [
        f"data     {facts.id}: {len(facts.x_train)} training and {len(facts.x_test)} test rows of shape {facts.shape}, "
        f"{len(facts.classes)} classes"
    ]
    lines += [f"guessed  {guess}" for guess in seen.guesses]
    if subject is None:
        lines.append("model    none: models are trained here; name one of yours with --model")
    else:
        lines.append(f"model    {subject.settings['path']}, format {subject.settings['format']}")
        lines += [f"guessed  {guess}" for guess in subject.guesses]
        lines.append(f"asked    {subject.answered}")
    return [
        *lines,
        f"wrote    {folder / 'audit.yaml'} and {folder / 'policy.yaml'}",
        f"look     auditor doctor {folder / 'audit.yaml'}",
        f"next     auditor run {folder / 'audit.yaml'}",
    ]


def _data(folder: Path, named: Path | None, model: Path | None, ask: Ask | None) -> "FoundData | None":
    """The data that was named, or that lies in the folder; None for the built-in digits."""
    from auditor.scaffold.data import BUILT_IN, known
    from auditor.scaffold.finding import data_in, source_of

    if named is not None:
        return known(named, source_of(named) if named.exists() else None)
    found = {str(f.path): f for f in (data_in(folder) if folder.is_dir() else [])}
    otherwise = BUILT_IN if model is None else None
    answer = chosen("data set", list(found), "--data", ask, otherwise)
    if answer is None:
        raise ConfigError("no data is here for the model to be asked about; name it with --data")
    if answer == BUILT_IN or answer in found:
        return found.get(answer)
    return known(Path(answer), source_of(Path(answer)) if Path(answer).exists() else None)


def _model(folder: Path, ask: Ask | None) -> Path | None:
    """The model file that lies in the folder; None where models are to be trained."""
    from auditor.scaffold.finding import models_in

    found = [str(path) for path in (models_in(folder) if folder.is_dir() else [])]
    answer = chosen("model", found, "--model", ask, NONE)
    return None if answer in (None, NONE) else Path(str(answer))


def _title(name: str | None, folder: Path, ask: Ask | None) -> str:
    guess = _plain(folder.resolve().name)
    if name is None and ask is not None:
        name = ask("name of the audit", (), guess)
    return name or guess


def _plain(text: str) -> str:
    """A text as the name of an audit: what it may not hold becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._ -]+", "-", text).lstrip("._ -") or "audit"
