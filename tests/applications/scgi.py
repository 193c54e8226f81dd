"""A SCGI server: says what it was told. The first argument is the path of its socket."""

import hashlib
import os
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        length = b""
        while not length.endswith(b":"):
            byte = self.rfile.read(1)
            if not byte:
                return
            length += byte
        words = self.rfile.read(int(length[:-1])).split(b"\0")[:-1]
        params = dict(zip(words[::2], words[1::2]))
        assert self.rfile.read(1) == b"," and words[0] == b"CONTENT_LENGTH"
        body = self.rfile.read(int(params[b"CONTENT_LENGTH"]))
        uri = params[b"REQUEST_URI"]
        if uri == b"/away":
            self.wfile.write(b"Location: /elsewhere\r\n\r\n")
        elif uri == b"/status":
            self.wfile.write(b"Status: 403 Not for you\r\nContent-Length: 2\r\n\r\nno")
        elif uri == b"/line":
            self.wfile.write(b"HTTP/1.0 201 Made\r\nX-From: python\r\n\r\nmade")
        elif uri == b"/garbage":
            self.wfile.write(b"no\x00head\r\n\r\n")
        elif uri == b"/body":
            self.wfile.write(b"\r\n" + hashlib.md5(body).hexdigest().encode())
        else:
            text = b"".join(name + b"=" + value + b"\n" for name, value in sorted(params.items()))
            self.wfile.write(b"Content-Type: text/plain\r\n\r\n" + text)


with socketserver.ThreadingUnixStreamServer(sys.argv[1], Handler) as server:
    os.chmod(sys.argv[1], 0o666)
    server.serve_forever()
