"""What the Hugging Face hub answers when a data set is streamed: its commit, the files of a folder, parts of files."""

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """A data set.

    Attributes:
        repository: ``owner/name``.
        revision: the only commit there is.
        files: content by path.
        address: where the server listens.
        read: bytes served by path.
    """

    repository: str
    revision: str
    files: dict[str, bytes]
    address: str = ""
    read: dict[str, int] = field(default_factory=dict)


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        hub = self.hub
        path = urllib.parse.unquote(self.path).split("?")[0]
        api = f"/api/datasets/{hub.repository}"
        resolve = f"/datasets/{hub.repository}/resolve/{hub.revision}/"
        if path == f"{api}/revision/{hub.revision}":
            self._send_json({"_id": "0", "id": hub.repository, "sha": hub.revision, "siblings": [], "tags": []})
        elif path.startswith(f"{api}/tree/{hub.revision}/"):
            folder = path.removeprefix(f"{api}/tree/{hub.revision}/").rstrip("/") + "/"
            listed = [name for name in hub.files if name.startswith(folder)]
            if listed:
                self._send_json([self._describe(name) for name in listed])
            else:
                self.send_error(404)
        elif path.startswith(resolve) and path.removeprefix(resolve) in hub.files:
            self._send_part(path.removeprefix(resolve))
        else:
            self.send_error(404)

    def _describe(self, name: str) -> dict[str, object]:
        return {"type": "file", "oid": "0" * 40, "size": len(self.hub.files[name]), "path": name}

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_part(self, name: str) -> None:
        content = self.hub.files[name]
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        self.hub.read[name] = self.hub.read.get(name, 0) + len(part)
        end = int(first) + len(part) - 1
        self._send(206, part, {"Content-Range": f"bytes {first}-{end}/{len(content)}", "ETag": '"0"'})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """Serve the data set on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (HubHandler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
