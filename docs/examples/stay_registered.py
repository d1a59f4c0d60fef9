"""A client that watches its own registration, and does as the operator says when that is ended.

    python stay_registered.py AOR CONTACT [SERVER]

Whoever only waits for the next refresh learns minutes later that a registration is gone.  RFC 3680 section 5.1 has the
events: `deactivated` asks for another REGISTER at once, `probation` for one after retry-after seconds, `rejected` for
none any more.
"""

import json
import subprocess
import sys
import time

aor, contact, *server = sys.argv[1:]
command = [sys.executable, "-m", "reginfo"]
where = ["--server", *server] if server else []


def register() -> None:
    subprocess.run([*command, "register", aor, contact, *where], check=True, stdout=subprocess.DEVNULL)
    print("registered", flush=True)


with subprocess.Popen([*command, "watch", aor, "--json", *where], stdout=subprocess.PIPE) as watching:
    assert watching.stdout is not None
    watching.stdout.readline()  # the state as it is: from now on nothing is missed
    register()
    for line in watching.stdout:
        for told in json.loads(line)["contacts"]:
            if told["uri"] != contact or told["state"] == "active":
                continue
            print(told["event"], flush=True)
            if told["event"] in ("rejected", "unregistered"):
                watching.terminate()
                sys.exit()
            time.sleep(told["retry_after"] or 0)
            register()
