"""dkimpy behind a pipe; the requests and answers are those of opendkim.py."""
import base64
import json
import sys

import dkim


def verify(request, message):
    keys = {k.encode(): v.encode() for k, v in request["keys"].items()}

    def look_up(name, timeout=5):
        return keys.get(name.rstrip(b"."))

    d = dkim.DKIM(message)
    count = sum(1 for name, _ in d.headers if name.lower() == b"dkim-signature")
    passed = []
    for i in range(count):
        try:
            passed.append(bool(dkim.DKIM(message).verify(idx=i, dnsfunc=look_up)))
        except dkim.DKIMException:
            passed.append(False)
    return {"passed": passed}


def sign(request, message):
    include = request.get("fields")
    field = dkim.sign(
        message, request["selector"].encode(), request["domain"].encode(), request["key"].encode(),
        canonicalize=(request["header"].encode(), request["body"].encode()),
        signature_algorithm=request["algorithm"].encode(),
        include_headers=[f.encode() for f in include] if include else None,
        length=request.get("length", False))
    return {"field": field.decode().split(":", 1)[1].strip()}


for line in sys.stdin:
    request = json.loads(line)
    try:
        message = base64.b64decode(request.get("message", ""))
        answer = {"verify": verify, "sign": sign}[request["op"]](request, message)
    except Exception as e:  # the test reads it
        answer = {"error": repr(e)}
    print(json.dumps(answer), flush=True)
