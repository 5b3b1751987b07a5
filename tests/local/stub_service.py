"""A stand-in for `flash web` and `flash inventory`, to test what runs them: `stub_service.py web|inventory|…`."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socketserver
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what `flash up` asks."""

    def do_GET(self) -> None:
        """/livez, and a sale whose first item is 70001."""
        body = json.dumps({"id": 8, "first_item_id": 70001}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def main(kind: str) -> None:
    """`web` serves, `inventory` waits, `broken` dies at once. SIGUSR1 ends any with code 7.

    `deaf` and `deaf-web` ignore SIGTERM.
    """
    if kind == "broken":
        sys.stderr.write("the disk is on fire\n")
        sys.exit(3)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if kind.startswith("deaf") else lambda *_: sys.exit(0))
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
    sys.stdout.write(f"{kind} pid={os.getpid()} database={os.environ['DATABASE_URL']}\n")
    if kind in ("web", "deaf-web"):
        socketserver.TCPServer.allow_reuse_address = True
        with socketserver.TCPServer(("127.0.0.1", int(os.environ["PORT"])), Handler) as server:
            server.serve_forever()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
