"""What there is: the lists behind `narrowbench list`, and the checks run over all that the package holds.

Main objects: `LISTS` (what can be listed -> rows for a table), `lint_catalog`, `prove_graders`.
Example: `narrowbench list methods`, `narrowbench check catalog`, `narrowbench check graders`
"""

from collections.abc import Callable
from dataclasses import asdict

from ..organisms import shipped
from ..organisms.findings import Finding
from ..organisms.spec import load_catalog
from .manifest import exams_of, suites
from .suite import changed_pins, load_suite


def organisms() -> list[dict[str, object]]:
    """Every organism of the nano catalogue, twins included, then the published ones."""
    return [{"organism": spec.id, "tier": tier, "family": spec.family, "role": spec.role, "split": spec.split,
             "domain": spec.domain, "objective": spec.statement}
            for tier in ("nano", "paper") for spec in load_catalog(tier).values()]


def topics() -> list[dict[str, object]]:
    """The topics of the nano world."""
    from ..organisms.nano import lexicon

    return [{"topic": topic.name, "use": topic.use, "words": len(topic.words), "facts": len(topic.facts)}
            for topic in lexicon.topics().values()]


def exams() -> list[dict[str, object]]:
    """Every exam: a suite, or one split of a suite that has both."""
    found = [load_suite(exam) for name in suites() for exam in exams_of(name)]
    return [{"suite": one.name, "tier": one.tier, "split": one.split, "organisms": len(one.entries)} for one in found]


def recipes() -> list[dict[str, object]]:
    """The published recipes."""
    from ..organisms.presets import load_presets

    return [{"recipe": one.name, "status": one.status, "source": one.source,
             "values": ", ".join(f"{key}={value}" for key, value in one.recipe.items())}
            for one in load_presets().values()]


def investigators() -> list[dict[str, object]]:
    """Who can read evidence."""
    from .investigating import investigators as names, load_investigator

    return [{"investigator": name, "asks a model": "yes" if load_investigator(name).needs_model else "no"}
            for name in names()]


def methods() -> list[dict[str, object]]:
    """The built-in methods, with what they may touch and what they are."""
    from . import method
    from .settings import summary_of

    found = [method.load_method(name)[0] for name in method.methods()]
    return [{"method": one.name, "version": one.version, "role": getattr(one, "role", "method"),
             "access": ", ".join(sorted(one.access)), "about": summary_of(type(one))} for one in found]


def presets() -> list[dict[str, object]]:
    """Settings that belong together, for `narrowbench score --preset`."""
    from .preset import load_preset, presets as names

    return [{"preset": one.name, "method": one.method, "investigator": one.investigator, "epochs": one.epochs,
             "graders": ", ".join(run.grader for run in one.graders), "roles to name": ", ".join(one.roles),
             "about": one.about} for one in map(load_preset, names())]


LISTS: dict[str, Callable[[], list[dict[str, object]]]] = {
    "organisms": organisms, "methods": methods, "suites": exams, "topics": topics, "investigators": investigators,
    "recipes": recipes, "presets": presets}


def lint_catalog() -> list[Finding]:
    """Every finding on the nano catalogue, the probes of the built-in suites, and the shipped adapters."""
    from ..organisms.lint import lint, lint_suite_counts
    from ..organisms.lint_base import lint_base
    from ..organisms.lint_shipped import lint_shipped
    from ..organisms.loading import load_model, load_tokenizer
    from ..organisms.nano import base_folder

    specs = load_catalog()
    probes = dict.fromkeys(text for name in suites() for text in load_suite(name).probes.texts)
    tokenizer, unembedding = load_tokenizer(base_folder()), load_model(base_folder()).get_output_embeddings()
    found = [*lint_suite_counts(specs), *lint(specs, tokenizer, list(probes)),
             *lint_base(specs.values(), tokenizer, unembedding.weight.detach())]
    found += [Finding(organism, "pins", reason) for name in suites() for organism, reason in changed_pins(name)]
    return [*found, *lint_shipped(shipped.FOLDER, specs)] if shipped.builds() else found


def prove_graders() -> list[dict[str, object]]:
    """What every judge-free grader does with claims of known score, on the cards of each split of the catalogue."""
    from ..graders.validate import prove

    proofs = []
    for split in ("dev", "test"):
        cards = {spec.card.card_id: spec.card for spec in load_catalog().values() if spec.card and spec.split == split}
        proofs += [{"split": split, **asdict(proof)} for proof in prove(list(cards.values()))]
    return proofs
