"""The load, against a service and a sink that are there: locust with all scenarios, then the judgement of them.

Where things are comes from the environment, with the defaults of docker-compose.yml: ``LOAD_BASE``, ``LOAD_SINK``,
``LOAD_METRICS``, ``LOAD_API_KEY_FILE``, ``LOAD_FOLDER``; how much from ``LOAD_SECONDS``, ``LOAD_USERS``, ``LOAD_SEED``.
``LOAD_TAKE_OVER``: for how many seconds there may be no answers, once, because another server takes Redis' place.
With ``--page`` locust's web page is served instead, and nothing is judged.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from judge import Place, accepted_starts, judge

GRACE = 45
"""Seconds in which what was begun may come to its end."""
LONGEST = 600
"""Seconds: a verification is known for ten minutes after its code's life, and all are read at the end."""
BROKE = 3
"""Locust's exit code when a scenario broke off: at an answer that nobody can read, or a sink that is away."""
RAMP = 10.0
"""Seconds until all users are there."""
_HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run locust, then judge; return 0 when everything is as it must be."""
    environ = {
        "LOAD_BASE": "http://proxy:8081",
        "LOAD_SINK": "http://sink:8025",
        "LOAD_METRICS": "http://api:9090/metrics",
        "LOAD_API_KEY_FILE": "/run/secrets/api_key",
        "LOAD_FOLDER": ".",
        "LOAD_USERS": "100",
        "LOAD_SECONDS": "300",
        "LOAD_TAKE_OVER": "0",
        **os.environ,
    }
    # People of an earlier run are known to the service: by default each run has others.
    environ["LOAD_SEED"] = environ.get("LOAD_SEED") or str(round(time.time()))
    users, seconds = int(environ["LOAD_USERS"]), int(environ["LOAD_SECONDS"])
    command = [str(Path(sys.executable).parent / "locust"), "-f", str(_HERE / "locustfile.py")]
    command += ["--host", environ["LOAD_BASE"], "--users", str(users), "--spawn-rate", f"{users / RAMP:g}"]
    if "--page" in sys.argv[1:]:
        return subprocess.run([*command, "--web-port", "8089"], env=environ, check=False).returncode
    if seconds > LONGEST:
        raise SystemExit(f"LOAD_SECONDS is at most {LONGEST}: later, the service knows nothing of the first ones.")
    folder = Path(environ["LOAD_FOLDER"])
    (folder / "calls.jsonl").unlink(missing_ok=True)
    place = Place(
        folder,
        environ["LOAD_BASE"],
        Path(environ["LOAD_API_KEY_FILE"]).read_text().strip(),
        environ["LOAD_SINK"],
        environ["LOAD_METRICS"],
    )
    title = f"{users} users at a time for {seconds} s, seed {environ['LOAD_SEED']}"
    print(f"{title}; the tables come at the end …", flush=True)
    before = accepted_starts(place)
    headless = ["--headless", "--run-time", f"{seconds}s", "--stop-timeout", str(GRACE)]
    headless += ["--exit-code-on-error", str(BROKE)]
    with (folder / "locust.log").open("w") as log:
        told = subprocess.run([*command, *headless], env=environ, check=False, stdout=log, stderr=log)
    if told.returncode:
        sys.stderr.write((folder / "locust.log").read_text())
    if told.returncode not in {0, BROKE}:
        return told.returncode
    return judge(place, before, f"{title}.", float(environ["LOAD_TAKE_OVER"])) or told.returncode


if __name__ == "__main__":
    sys.exit(main())
