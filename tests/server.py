"""A small HTTP server that serves a file in good and bad ways; the first part of the path names the way."""

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urlsplit


@contextmanager
def serve(content):
    """Serve `content` under /HOW/NAME, with HOW a method of `Handler`.

    Yields
    ------
    server : SimpleNamespace
        `url`; `requests`, a list of (path, Range or None) so far; `asked`, an event set by the first of them.
    """
    state = SimpleNamespace(content=content, requests=[], asked=threading.Event(), over=threading.Event())
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.close_connection = True
        self.range = self.headers.get("Range")
        self.start = int(self.range[len("bytes=") : -1]) if self.range else 0
        self.state.requests.append((self.path, self.range))
        self.state.asked.set()
        with suppress(OSError):  # the client has gone
            getattr(self, urlsplit(self.path).path.split("/")[1])()  # a proxy gets whole addresses

    def log_message(self, *arguments):
        pass

    def head(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def part(self, most=None, start=None):
        """Send the content from the requested start, but at most `most` bytes, although the header announces all."""
        start = self.start if start is None else start
        body = self.state.content[start:]
        extent = {"Content_Range": f"bytes {start}-{len(self.state.content) - 1}/{len(self.state.content)}"}
        self.head(206 if self.range else 200, Content_Length=len(body), **(extent if self.range else {}))
        self.wfile.write(body[:most])
        self.wfile.flush()

    def good(self):
        self.part()

    def http1(self):
        """Send no length, as old servers do."""
        self.head(200)
        self.wfile.write(self.state.content)

    def chunked(self, end=b"0\r\n\r\n"):
        self.protocol_version = "HTTP/1.1"
        self.head(200, Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(self.state.content), self.state.content) + end)

    def halfchunked(self):
        self.chunked(end=b"")

    def pieces(self):
        """Send a third at a time."""
        self.part(len(self.state.content) // 3 + 1)

    def anew(self):
        """Break off at first; then ignore the range and send the whole file."""
        if not self.range:
            return self.part(1000)
        self.head(200, Content_Length=len(self.state.content))
        return self.wfile.write(self.state.content)

    def shifted(self):
        """Break off at first, and then send another range than the requested one."""
        self.part(1000, self.start // 2)

    def truncated(self):
        """Always break off at the same place."""
        self.part(max(0, len(self.state.content) // 2 - self.start))

    def recovering(self):
        """Break off, then be busy, then send the rest."""
        if not self.range:
            self.part(1000)
        elif len(self.state.requests) < 3:
            self.send_error(503)
        else:
            self.part()

    def corrupted(self):
        body = bytearray(self.state.content)
        body[len(body) // 2] ^= 1
        self.head(200, Content_Length=len(body))
        self.wfile.write(body)

    def portal(self):
        body = b"<html>Please accept our terms</html>"
        self.head(200, Content_Length=len(body))
        self.wfile.write(body)

    def stalled(self):
        """Send half of the content, and then nothing."""
        self.truncated()
        self.state.over.wait(60)

    def silent(self):
        self.state.over.wait(60)

    def drip(self):
        self.head(200, Content_Length=len(self.state.content))
        for byte in self.state.content[:100]:
            self.wfile.write(bytes([byte]))
            if self.state.over.wait(0.02):
                break

    def huge(self):
        self.head(200, Content_Length=1 << 40)

    def endless(self):
        self.head(200)
        while not self.state.over.is_set():
            self.wfile.write(bytes(1 << 16))

    def missing(self):
        self.send_error(404)

    def busy(self):
        self.send_error(503)

    def nonsense(self):
        self.wfile.write(b"220 a mail server\r\n")

    def moved(self):
        """Redirect to the rest of the path, for example in /moved/CODE/good/NAME and /moved/302/file:..."""
        code, _, target = self.path[len("/moved/") :].partition("/")
        self.head(int(code), Location=target if ":" in target else f"/{target}", Content_Length=0)

    def flood(self):
        """Redirect with a body that does not end."""
        self.head(302, Location="/good/x")
        while not self.state.over.is_set():
            self.wfile.write(bytes(1 << 16))

    def loop(self):
        self.head(302, Location=self.path, Content_Length=0)
