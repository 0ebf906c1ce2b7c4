"""How near evasion.* comes to AutoAttack on models trained here, and at what share of its cost; peers in the same run.

Run: OMP_NUM_THREADS=1 python benchmarks/evasion.py --cache /tmp/zoo [--only NAME] [--quick]
Needs: pip install --no-deps torchattacks foolbox eagerpy GitPython gitdb smmap multiprocess dill
"""

import argparse
import importlib
import io
import statistics
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path

import check_adversarials
import evasion_peers as peers
import numpy as np
import robust_models as zoo
import torch
from evasion_peers import Attacked, Problem
from robust_models import Trained
from ruamel.yaml import YAML

import auditor
from auditor.attacks.evasion import paths, results
from auditor.attacks.evasion.ball import Ball
from auditor.attacks.evasion.bench import Bench, Standing
from auditor.dataset import Dataset
from auditor.probe import Case, Outcome, Probe
from auditor.seeds import Seeds
from auditor.subjects.torch_subject import TorchSubject
from auditor.training import architectures

ART_MODELS, ART_ROWS = ("digits-cnn-pgd", "fashion-mlp-pgd"), 50
PROBES = {"Linf": ("linf", "Linf"), "L2": ("l2", "L2"), "L1": ("l1", "L1")}
CHECKED = {
    "digits-cnn-pgd": {"Linf": 0.15, "L2": 0.8, "L1": 3.0},
    "fashion-mlp-pgd": {"Linf": 0.1, "L2": 1.0, "L1": 8.0},
}


@dataclass(frozen=True, eq=False)
class Result:
    """What one model lost to whom."""

    model: Trained
    clean: float
    auto: Attacked
    pgd: Attacked
    ours: Attacked
    tested: Attacked
    alone: Attacked

    @property
    def above(self) -> float:
        """Points by which our robust accuracy is higher than AutoAttack's: above 0 is worse."""
        return self.ours.robust - self.auto.robust

    @property
    def honest(self) -> bool:
        """Whether the model is one of those the goals are stated for: 20 to 80 % under AutoAttack."""
        return self.model.robust and 20 <= self.auto.robust <= 80


def problem_of(model: Trained, cache: Path, rows: int) -> Problem:
    """The model with the rows it is attacked on."""
    data = zoo.dataset(model.data)
    net, x = zoo.trained(model, cache), torch.tensor(data.x_test)
    batch = peers.fastest_batch(net, x)
    return Problem(net, x, torch.tensor(data.y_test), model.norm, model.epsilon, len(data.classes), batch).first(rows)


def probe_of(norm: str, epsilon: float, profile: str, **parameters: object) -> Probe:
    """The probe of this norm as a profile sets it; where the profile does not name it, as it sets evasion.linf."""
    module, name = PROBES[norm]
    kind: type[Probe] = getattr(importlib.import_module(f"auditor.attacks.evasion.{module}"), name)
    path = Path(auditor.__file__).parent / "profiles" / f"{profile}.yaml"
    named = YAML(typ="safe").load(path)["probes"]
    settings = named.get(f"evasion.{module}") or named["evasion.linf"]
    known = {f.name for f in fields(kind)}
    chosen = {k: v for k, v in {**settings, **parameters, "epsilons": (epsilon,)}.items() if k in known}
    return kind(**chosen)


def case_of(problem: Problem, probe: Probe) -> Case:
    """The case of this probe on exactly the rows of the problem."""
    x, y, classes = problem.x.numpy(), problem.y.numpy(), tuple(str(k) for k in range(problem.classes))
    domain = zoo.dataset("digits").domain
    unit = type(domain).unit(tuple(problem.x.shape[1:]))
    data = Dataset("rows", x[:1], y[:1], x, y, classes, unit)
    subject = TorchSubject(problem.net, classes=problem.classes, shape=data.shape)
    return Case(probe, "zoo", subject, data, Seeds(1))


def ours(problem: Problem, profile: str, **parameters: object) -> Attacked:
    """The probe of the problem's norm with a profile's parameters, from the case to the outcome."""
    settings = {"samples": len(problem.y), "batch_size": problem.batch, **parameters}
    case = case_of(problem, probe_of(problem.norm, problem.epsilon, profile, **settings))
    spent = list[float]()
    with peers.clock(spent):
        outcome = case.probe.run(case)
    doubts = tuple(c.flag for c in outcome.caveats if c.severity != "info")
    return Attacked(_broken(case, outcome), spent[0], spent[1], doubts=doubts)


def alone(problem: Problem, profile: str) -> Attacked:
    """The attack alone, from clean rows to verified successes: without preflight, self-tests and minimum norms."""
    probe = probe_of(problem.norm, problem.epsilon, profile, samples=len(problem.y), batch_size=problem.batch)
    case = case_of(problem, replace(probe, self_test=False))
    assert isinstance(case.probe, Ball)
    spent = list[float]()
    with peers.clock(spent):
        clean = results.look(case, case.probe, None)
        bench = Bench.of(case, clean.rows, clean.outputs, problem.batch, case.probe.norm)
        standing = Standing.before(bench, clean.broken, clean.prediction)
        paths.by_gradients(bench, standing, problem.epsilon, case.probe, paths.Gains())
    return Attacked(standing.broken, spent[0], spent[1])


def _broken(case: Case, outcome: Outcome) -> peers.Mask:
    assert outcome.samples is not None
    place = {str(row): i for i, row in enumerate(case.data.test_rows)}
    broken = np.zeros(len(place), bool)
    broken[[place[str(row)] for row in outcome.samples.row]] = ~outcome.samples.columns["correct"][:, -1]
    return broken


def compare(model: Trained, cache: Path, rows: int) -> Result:
    """One model under AutoAttack, PGD and the standard profile: whole, without minimum norms, and the attack alone."""
    problem = problem_of(model, cache, rows)
    with torch.no_grad():
        clean = 100 * float((problem.net(problem.x).argmax(1) == problem.y).double().mean())
    auto, pgd = peers.auto_attack(problem), peers.foolbox_pgd(problem)
    full, tested = ours(problem, "standard"), ours(problem, "standard", minimum_norm=0)
    return Result(model, clean, auto, pgd, full, tested, alone(problem, "standard"))


def row(result: Result) -> str:
    """One line of the table."""
    auto, mine = result.auto, result.ours
    by = "/".join(str(n) for n in auto.parts.values())
    only_they = int((auto.broken & ~mine.broken).sum())
    return (
        f"{result.model.name:20} {result.model.norm:4} {result.clean:5.1f} {result.pgd.robust:5.1f} "
        f"{auto.robust:5.1f} {mine.robust:5.1f} {result.above:+5.1f} {only_they:4d} {by:>14} "
        f"{auto.wall:7.1f} {mine.wall:6.2f} {auto.wall / mine.wall:5.1f} "
        f"{auto.cpu:7.1f} {mine.cpu:6.2f} {auto.cpu / mine.cpu:5.1f} {auto.cpu / result.tested.cpu:6.1f} "
        f"{auto.cpu / result.alone.cpu:5.1f} "
        f"{' '.join(mine.doubts)}"
    )


HEAD = (
    f"{'model':20} {'norm':4} {'clean':>5} {'pgd':>5} {'auto':>5} {'ours':>5} {'diff':>5} {'miss':>4} "
    f"{'ce/t/fab/sq':>14} {'wall AA':>7} {'ours':>6} {'ratio':>5} {'cpu AA':>7} {'ours':>6} {'ratio':>5} "
    f"{'tested':>6} {'alone':>5}"
)


def summary(results: list[Result]) -> None:
    """Means and worst cases against the goals."""
    robust = [r for r in results if r.honest]
    for result in results:
        if result.model in zoo.HELD_OUT:
            print(f"held out: {result.model.name} {result.above:+.1f} points")
    if robust:
        above = [r.above for r in robust]
        masked = sum(r.pgd.robust - r.auto.robust >= 1 for r in robust)
        print(
            f"{len(robust)} robust models at 20-80 %, {masked} of them with PGD at least 1 point too high: "
            f"difference mean {statistics.mean(above):+.2f}, mean size {statistics.mean(map(abs, above)):.2f}, "
            f"worst {max(above):+.2f} points"
        )
        shares("robust", robust)
    if plain := [r for r in results if not r.model.robust]:
        shares("not robust", plain)


def shares(title: str, results: list[Result]) -> None:
    """How many times cheaper than AutoAttack."""
    for name, ratios in (
        ("wall", [r.auto.wall / r.ours.wall for r in results]),
        ("CPU", [r.auto.cpu / r.ours.cpu for r in results]),
        ("CPU, without minimum norms", [r.auto.cpu / r.tested.cpu for r in results]),
        ("CPU, attack alone", [r.auto.cpu / r.alone.cpu for r in results]),
    ):
        print(f"{title}: AutoAttack by ours, {name}: geometric mean {statistics.geometric_mean(ratios):.1f}, ", end="")
        print(f"least {min(ratios):.1f}")


def against_art(cache: Path, rows: int) -> None:
    """ART's AutoAttack and PGD on a few rows, for it is slow; ours on the same rows."""
    for model in (m for m in zoo.ROBUST if m.name in ART_MODELS):
        problem = problem_of(model, cache, rows)
        with redirect_stdout(io.StringIO()):
            art, pgd = peers.art_auto_attack(problem), peers.art_pgd(problem)
        mine = ours(problem, "standard")
        print(
            f"{model.name} {len(problem.y)} rows: ART AutoAttack {art.robust:.1f} % in {art.cpu:.1f} s CPU, "
            f"ART PGD {pgd.robust:.1f} % in {pgd.cpu:.2f} s, ours {mine.robust:.1f} % in {mine.cpu:.2f} s: "
            f"{art.cpu / mine.cpu:.0f} times faster"
        )


def square_rates(cache: Path, queries: int) -> None:
    """Queries a CPU second of random search, per standing row, ours against ART's and torchattacks'."""
    for model in (m for m in zoo.ROBUST if m.name in ART_MODELS):
        problem = problem_of(model, cache, zoo.ROWS)
        case = case_of(problem, probe_of(problem.norm, problem.epsilon, "standard", batch_size=problem.batch))
        rows = np.flatnonzero(~peers._wrong(problem))
        bench = Bench.of(case, np.arange(len(problem.y)), case.subject.predict(problem.x.numpy()), problem.batch)
        spent = list[float]()
        with peers.clock(spent):
            left = bench.search(problem.epsilon, queries)(torch.as_tensor(rows))
        art = peers.art_square(problem, queries)
        standing = (len(rows) - int(left.broken.sum()), int((~art.broken).sum()))
        rates = [queries * s / t for s, t in zip(standing, (spent[1], art.cpu), strict=True)]
        print(
            f"{model.name} Square, {queries} queries: ours {rates[0]:,.0f} a second ({standing[0]} stand), "
            f"ART {rates[1]:,.0f} ({standing[1]} stand): {rates[0] / rates[1]:.1f} times"
        )


def verify_saved(cache: Path, rows: int) -> None:
    """Does the independent checker accept every saved adversarial of two models in three norms."""
    for model in (m for m in zoo.ROBUST if m.name in CHECKED):
        problem = problem_of(model, cache, rows)
        for norm, epsilon in CHECKED[model.name].items():
            asked = replace(problem, norm=norm, epsilon=epsilon)
            case = case_of(asked, probe_of(norm, epsilon, "standard", samples=rows, save=True, planted=0))
            saved = case.probe.run(case).samples
            assert saved is not None
            given = {"row": saved.row, "label": saved.label, **saved.columns}
            wrong = check_adversarials.check(
                given, case.data.x_test, case.data.y_test, case.subject.predict, PROBES[norm][0]
            )
            claims = int(np.isfinite(given["broken_at"]).sum())
            print(f"{model.name} {norm} {epsilon:g}: {claims} rows broken, {len(wrong)} claims do not hold {wrong[:2]}")


def quick_profile(rows: int = 256) -> None:
    """The quick profile on a network of a million parameters that has learnt a little."""
    data = zoo.dataset("fashion")
    recipe = replace(zoo.PLAIN[3], architecture="robust_models:large_cnn", width=32).recipe
    net = architectures.build(recipe, data.facts(), seed=0)
    zoo.fit_briefly(net, data)
    size = sum(p.numel() for p in net.parameters())
    x, y = torch.tensor(data.x_test), torch.tensor(data.y_test)
    problem = Problem(net.eval().requires_grad_(False), x, y, "Linf", 0.03, len(data.classes), 256).first(rows)
    mine = ours(problem, "quick")
    print(
        f"quick profile, {size:,} parameters, {rows} rows: {mine.wall:.1f} s wall, {mine.cpu:.1f} s CPU, "
        f"{mine.robust:.1f} % at epsilon 0.03"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for trained weights, outside the repository")
    parser.add_argument("--only", action="append", default=[], help="models whose name contains this; can be repeated")
    parser.add_argument("--skip-art", action="store_true", help="without ART, which takes as long as all the rest")
    parser.add_argument("--quick", action="store_true", help="100 rows of four models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = [
        m for m in zoo.ROBUST + zoo.HELD_OUT + zoo.PLAIN if not options.only or any(o in m.name for o in options.only)
    ]
    models = models[:: max(1, len(models) // 4)][:4] if options.quick else models
    rows = 100 if options.quick else zoo.ROWS
    print(HEAD, flush=True)
    results = []
    for model in models:
        results.append(compare(model, options.cache, rows))
        print(row(results[-1]), flush=True)
    summary(results)
    verify_saved(options.cache, 100 if options.quick else 200)
    quick_profile()
    if not options.skip_art:
        square_rates(options.cache, 100 if options.quick else 300)
        against_art(options.cache, 10 if options.quick else ART_ROWS)


if __name__ == "__main__":
    main()
