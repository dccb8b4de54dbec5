"""Is an address the machine itself? What answers there is asked by nobody else, so it measures nothing for others.

Main object: `is_loopback(address)`. Example: `is_loopback("http://127.0.0.1:8000/v1")`

A tunnel, a proxy, or a name that a resolver turns into a loopback address is not seen.
"""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(address: str) -> bool:
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
