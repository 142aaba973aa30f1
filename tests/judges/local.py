"""What both judges share: they create and delete people, so they accept only a server on this
machine, and they draw the same values again for the same seed.
"""

import os
import random
import sys
from urllib.parse import urlsplit

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def arguments():
    """The address, the token and the seed of a run."""
    url, token = sys.argv[1].rstrip("/"), sys.argv[2]
    if urlsplit(url).scheme not in ("http", "https") or urlsplit(url).hostname not in LOOPBACK:
        sys.exit(f"judge: {url} is not on this machine; the suites create and delete people")

    # Some suites read the proxy from the environment.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    seed = int(os.environ.get("JUDGES_SEED") or random.randrange(2**32))
    print(f"judging {url} with JUDGES_SEED={seed}", flush=True)
    return url, token, seed
