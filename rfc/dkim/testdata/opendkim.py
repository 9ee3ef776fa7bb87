"""libopendkim behind a pipe: one JSON request a line, one JSON answer a line.

verify: {"op": "verify", "message": base64, "keys": {name: record}}
        -> {"passed": [bool for each signature]}
sign:   {"op": "sign", "message": base64, "key": PEM or base64, "selector": .., "domain": ..,
         "header": "relaxed", "body": "relaxed", "algorithm": "rsa-sha256"}
        -> {"field": body of the DKIM-Signature field}
An answer with "error" says what the library did not like.
"""
import base64
import ctypes
import json
import sys
import tempfile

lib = ctypes.CDLL("libopendkim.so.11")
for name in ("dkim_init", "dkim_verify", "dkim_sign"):
    getattr(lib, name).restype = ctypes.c_void_p
for name in ("dkim_getresultstr", "dkim_geterror", "dkim_sig_geterrorstr"):
    getattr(lib, name).restype = ctypes.c_char_p

SET, QUERYMETHOD, QUERYINFO, FILE = 1, 6, 7, 1
CANON = {"simple": 0, "relaxed": 1}
ALGORITHM = {"rsa-sha1": 0, "rsa-sha256": 1, "ed25519-sha256": 2}
PASSED = 0x04


def open_library(keys):
    handle = ctypes.c_void_p(lib.dkim_init(None, None))
    names = tempfile.NamedTemporaryFile("w")
    for name, text in keys.items():
        names.write("%s %s\n\n" % (name, text))
    names.flush()
    method = ctypes.c_int(FILE)
    lib.dkim_options(handle, SET, QUERYMETHOD, ctypes.byref(method), ctypes.sizeof(method))
    path = names.name.encode()
    lib.dkim_options(handle, SET, QUERYINFO, path, len(path))
    return handle, names


def feed(dkim, message):
    for piece in (message, None):
        status = lib.dkim_chunk(dkim, piece, len(piece or b""))
        if status != 0:
            return status
    test = ctypes.c_int(0)
    return lib.dkim_eom(dkim, ctypes.byref(test))


def verify(request, message):
    handle, names = open_library(request["keys"])
    status = ctypes.c_int(0)
    dkim = ctypes.c_void_p(lib.dkim_verify(handle, b"test", None, ctypes.byref(status)))
    result = feed(dkim, message)
    count = ctypes.c_int(0)
    sigs = ctypes.POINTER(ctypes.c_void_p)()
    lib.dkim_getsiglist(dkim, ctypes.byref(sigs), ctypes.byref(count))
    passed = []
    for i in range(count.value):
        sig = ctypes.c_void_p(sigs[i])
        lib.dkim_sig_process(dkim, sig)
        flags = lib.dkim_sig_getflags(sig)
        passed.append(bool(flags & PASSED) and lib.dkim_sig_getbh(sig) == 0)
    answer = {"passed": passed, "status": lib.dkim_getresultstr(result).decode()}
    lib.dkim_free(dkim)
    lib.dkim_close(handle)
    names.close()
    return answer


def sign(request, message):
    handle, names = open_library({})
    status = ctypes.c_int(0)
    dkim = ctypes.c_void_p(lib.dkim_sign(
        handle, b"test", None, request["key"].encode(), request["selector"].encode(),
        request["domain"].encode(), CANON[request["header"]], CANON[request["body"]],
        ALGORITHM[request["algorithm"]], ctypes.c_ssize_t(-1), ctypes.byref(status)))
    if not dkim:
        return {"error": lib.dkim_getresultstr(status.value).decode()}
    result = feed(dkim, message)
    if result != 0:
        return {"error": "%s: %s" % (lib.dkim_getresultstr(result), lib.dkim_geterror(dkim))}
    buf, size = ctypes.c_char_p(), ctypes.c_size_t()
    lib.dkim_getsighdr_d(dkim, len("DKIM-Signature: "), ctypes.byref(buf), ctypes.byref(size))
    answer = {"field": buf.value[:size.value].decode()}
    lib.dkim_free(dkim)
    lib.dkim_close(handle)
    names.close()
    return answer


for line in sys.stdin:
    request = json.loads(line)
    try:
        message = base64.b64decode(request.get("message", ""))
        answer = {"verify": verify, "sign": sign}[request["op"]](request, message)
    except Exception as e:  # the test reads it
        answer = {"error": repr(e)}
    print(json.dumps(answer), flush=True)
