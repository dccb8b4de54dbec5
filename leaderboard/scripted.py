"""Which models answered in a log, and whether that is a measurement: scripted ones and loopback hosts are none.

Main object: `refuse_scripted(log)`.
Example: `refuse_scripted(read_eval_log("logs/2026-01-01_recover.eval"))`
"""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from inspect_ai.log import EvalLog

from ..organisms.errors import RecordError

NO_MODEL = "none/none"


def refuse_scripted(log: EvalLog) -> None:
    """Raises RecordError if a model of the log was scripted, ran behind a loopback address or from somebody's own
    folder, or is another one than the log says of its investigator."""
    spec = log.eval
    configs = [config for given in (spec.model_roles or {}).values()
               for config in (given if isinstance(given, list) else [given])]
    used = {spec.model, *(config.model for config in configs), *log.stats.model_usage}
    if scripted := sorted(name for name in used if name.startswith("mockllm")):
        raise RecordError(f"it used the scripted model {scripted[0]}, whose answers are no measurement")
    addresses = [spec.model_base_url, *(config.base_url for config in configs), *_hosts(log)]
    if local := sorted(address for address in addresses if address and _is_loopback(address)):
        raise RecordError(f"its model answered from {local[0]}, a loopback address: nobody else can ask it again")
    arguments = [spec.model_args, *(config.args for config in configs)]
    if any("model_path" in given or "tokenizer_path" in given for given in arguments):
        raise RecordError("its model was loaded from a folder of its own: name one that others can load")
    investigator = ((spec.metadata or {}).get("narrowbench") or {}).get("investigator") or {}
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


def _is_loopback(address: str) -> bool:
    """Whether an address (a URL, or a host alone) is of the machine itself."""
    host = (urlsplit(address if "//" in address else f"//{address}").hostname or "").rstrip(".").casefold()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_unspecified
