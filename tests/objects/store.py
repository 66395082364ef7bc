"""An S3 server on a free port of loopback. It makes the objects that its stdin names, one bucket a
line, and ends with that."""

import json
import logging
import sys

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(json.dumps({"event": "listening", "port": server.get_host_and_port()[1]}), flush=True)

objects = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
for line in sys.stdin:
    command = json.loads(line)
    objects.create_bucket(command["bucket"], "us-east-1")
    for key in command["keys"]:
        objects.put_object(command["bucket"], key, b"x")
    print(json.dumps({"event": "made"}), flush=True)
