# Reads {"message": base64, "txt": {name: text}} and optionally {"seal": {...}} from standard
# input. Prints the state of the chain as dkimpy sees it, or the fields that it seals with.
import base64, json, re, sys
import dkim

try:
    import authres
except ImportError:  # dkimpy wants it to seal; what it needs of it is little

    class authres:
        class core:
            SyntaxError = ValueError

        class AuthenticationResultsHeader:
            @staticmethod
            def parse(text):
                return authres.AuthenticationResultsHeader(text)

            def __init__(self, text):
                head, *results = text.split(":", 1)[1].split(";")
                self.authserv_id = head.strip()
                pairs = [re.match(r"\s*([\w-]+)=(\w+)", r) for r in results]
                self.results = [type("Result", (), {"method": p[1], "result": p[2]}) for p in pairs if p]

    dkim.authres = authres

request = json.load(sys.stdin)
message = base64.b64decode(request["message"])
txt = request["txt"]


def lookup(name, timeout=5):
    if isinstance(name, bytes):
        name = name.decode()
    text = txt.get(name.rstrip("."))
    return text.encode() if text is not None else None


seal = request.get("seal")
if seal:
    fields = dkim.arc_sign(message, seal["selector"].encode(), seal["domain"].encode(),
                           seal["key"].encode(), seal["id"].encode())
    print(json.dumps({"fields": base64.b64encode(b"".join(fields)).decode()}))
else:
    cv, _, reason = dkim.arc_verify(message, dnsfunc=lookup)
    print(json.dumps({"cv": cv.decode() if cv else "", "reason": str(reason)}))
