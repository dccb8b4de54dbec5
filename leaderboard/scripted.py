"""Which models answered in a log, and whether that is a measurement: scripted ones and loopback hosts are none.

Main object: `refuse_scripted(log)`.
Example: `refuse_scripted(read_eval_log("logs/2026-01-01_recover.eval"))`
"""

from collections.abc import Iterator
from typing import Any

from inspect_ai.log import EvalLog, EvalSample

from ..benchmark.addresses import is_loopback
from ..organisms.errors import RecordError
from .record import NO_MODEL

JUDGES, ON_LOOPBACK = ("judge", "strength_judge"), "judge_on_loopback"
"""Settings and statistic of methods that ask a model while they collect (`methods/adl_paper.py`)."""


def refuse_scripted(log: EvalLog) -> None:
    """Raises RecordError if a model of the log was scripted, ran behind a loopback address or from somebody's own
    folder, or is another one than the log says of its investigator.

    Judges that a method asked while it collected are known from the method's settings and from a statistic of the
    evidence: an address is not among either, so one that hides behind a tunnel or a proxy is not seen.
    """
    spec = log.eval
    configs = [config for given in (spec.model_roles or {}).values()
               for config in (given if isinstance(given, list) else [given])]
    used = {spec.model, *(config.model for config in configs), *log.stats.model_usage, *_judges(log)}
    if scripted := sorted(name for name in used if name.startswith("mockllm")):
        raise RecordError(f"it used the scripted model {scripted[0]}, whose answers are no measurement")
    addresses = [spec.model_base_url, *(config.base_url for config in configs), *_hosts(log)]
    if local := sorted(address for address in addresses if address and is_loopback(address)):
        raise RecordError(f"its model answered from {local[0]}, a loopback address: nobody else can ask it again")
    if judged := sorted(str(sample.id) for sample in log.samples or [] if _judged_on_loopback(sample)):
        raise RecordError(f"the judge of the method's evidence for {judged[0]} answered from a loopback address: "
                          "nobody else can ask it again")
    arguments = [spec.model_args, *(config.args for config in configs)]
    if any("model_path" in given or "tokenizer_path" in given for given in arguments):
        raise RecordError("its model was loaded from a folder of its own: name one that others can load")
    investigator = _about(log).get("investigator") or {}
    said, asked = investigator.get("model", ""), "" if spec.model == NO_MODEL else spec.model
    if said != asked:
        raise RecordError(f"it says that its investigator asked {said or 'no model'}, but it was run with "
                          f"{asked or 'none'}. Run it with `narrowbench score`")


def _hosts(log: EvalLog) -> Iterator[str]:
    """Where the samples' investigators say that they were answered from."""
    for sample in log.samples or []:
        host: Any = (sample.store or {}).get("Investigation:host")
        if isinstance(host, str):
            yield host


def _about(log: EvalLog) -> dict[str, Any]:
    return (log.eval.metadata or {}).get("narrowbench") or {}


def _judges(log: EvalLog) -> list[str]:
    """Models that the method's settings name for it."""
    settings = (_about(log).get("method") or {}).get("settings") or {}
    return [str(settings[key]) for key in JUDGES if settings.get(key)]


def _judged_on_loopback(sample: EvalSample) -> bool:
    """Whether the evidence says so; evidence of methods without a judge says nothing about it."""
    stats = ((sample.store or {}).get("evidence") or {}).get("stats") or {}
    return bool(stats.get(ON_LOOPBACK))
